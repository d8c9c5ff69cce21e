"""CloudFront on one machine: each request goes through the edge function and then, streamed both ways, to the origin."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage

from chalicelib.edge.door import EdgeDoor
from local.simulator import edge_function, web_sockets
from local.simulator.answer_tally import AnswerTally
from local.simulator.bursts import Bursts
from local.simulator.connections import Connections
from local.simulator.counting_together import ReadAndCountAll
from local.simulator.edge_function import Decide, Handler
from local.simulator.forwarding import Accounts, Forwarding
from local.simulator.function_result import GeneratedResponse
from local.simulator.health import Health
from local.simulator.invocations import Invocations, NeedsWholeBody, not_decided
from local.simulator.known_heads import KnownHeads, words
from local.simulator.origin_body import CHUNK
from local.simulator.origin_client import MAX_HEADERS, OriginClient
from local.simulator.origin_request_event import MAX_HEAD, READ_TIMEOUT, request_error
from local.simulator.quick_calls import QuickCall, whole_request
from local.simulator.refusal_notes import RefusalNotes
from local.simulator.response_tally import ResponseTally
from local.simulator.running_calls import RunningCalls
from local.simulator.settlements import Settlements
from local.simulator.trusted_proxies import NOBODY, TrustedProxies
from local.simulator.unsent import Unsent
from local.simulator.viewer_connection import ViewerConnection
from local.simulator.viewer_response import ViewerResponse, error_response, generated_response, unread
from local.simulator.whole_bodies import KEPT

if TYPE_CHECKING:  # it takes a library that a server without numbers does without
    from local.metrics.measured import Measured


IDLE_TIMEOUT: Final = 75.0  # seconds that a viewer's connection may stay open without a complete request
MOST_CONNECTIONS: Final = 4_096
_ID: Final = 32  # hexadecimal digits
_LOG: Final = logging.getLogger(__name__)


class Beyond(TypedDict, total=False):
    """What a distribution may do that CloudFront does not; nothing of it unless given."""

    needs_whole_body: NeedsWholeBody | None
    """Whether a call with more than 1 MiB is decided by all of its body; called in a thread. None: none is."""
    allow_web_sockets: bool
    """Whether a call may ask for a WebSocket; where not, it is refused, as behind an origin-request function."""


class Options(Beyond, total=False):
    """What else a distribution may have."""

    over_network: bool
    """Whether the function waits for a network: each call of it is then made in a thread, in bounded time."""
    health: Health | None
    """What load balancers ask; None: the edge has no such pages."""
    idle_timeout: float
    """Seconds that a connection may stay open without a complete request; more than a load balancer's own."""
    read_and_count_all: ReadAndCountAll | None
    """Counts several calls in one round trip, without waiting for a network; None: each is counted by itself."""
    proxies: TrustedProxies
    """Those whose X-Forwarded headers are believed."""
    measured: Measured | None
    """What calls are measured by; None: they are not."""
    notes: RefusalNotes | None
    """What is told of answers of the edge's own; None: nothing is."""
    responses: ResponseTally | None
    """Adds up how long answers took; None: nothing does."""


class Distribution(web.Server):
    """A CloudFront distribution as an aiohttp server, to run with `make_runner`. `close()` it after the runner's clean-up."""

    def __init__(  # noqa: PLR0913  its parts
        self,
        invocations: Invocations,
        places: Connections,
        forwarding: Forwarding,
        unsent: Unsent,
        bursts: Bursts,
        *,
        allow_web_sockets: bool = False,
        health: Health | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        proxies: TrustedProxies = NOBODY,
        measured: Measured | None = None,
        notes: RefusalNotes | None = None,
        responses: ResponseTally | None = None,
    ) -> None:
        super().__init__(
            self._serve,
            # By default, aiohttp lets a handler finish when its client has disconnected; at the provider it would cost money.
            handler_cancellation=True,
            access_log=None,  # a request line may hold a token (?key=)
            keepalive_timeout=idle_timeout,
            auto_decompress=False,
            read_bufsize=CHUNK,
            # The parser's limits are per line; `request_error` has the exact ones.
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEADERS,
        )
        self.invocations, self.places = invocations, places
        self.forwarding, self._unsent, self._proxies = forwarding, unsent, proxies
        self._measured, self._notes, self._responses = measured, notes, responses
        self.known_heads, self.bursts, self.ids = KnownHeads(), bursts, request_ids()
        self._health, self._allow_web_sockets = health, allow_web_sockets

    def __call__(self) -> web.RequestHandler:
        """Return one viewer's connection (this is asyncio's protocol factory)."""
        return ViewerConnection(self.places, self, loop=self._loop, **self._kwargs)

    async def close(self) -> None:
        """Close the connections to origins, and end the threads."""
        self.invocations.close()
        await self.forwarding.close()

    def quick_call(
        self, connection: ViewerConnection, message: RawRequestMessage, content: StreamReader
    ) -> QuickCall | None:
        """Return a call that can be served without a task; None if it cannot, and nothing is done."""
        if not self.invocations.are_at_once:
            return None
        request = whole_request(connection, message, content, self._loop)
        if request is None or self._proxies.says_plain_http(request):
            return None
        if self._health is not None and self._health.page(request.method, request.raw_path) is not None:
            return None
        request = self._proxies.seen(request)
        if self.places.is_busy:
            return None
        said, (last_said, known) = words(request), connection.last_known
        if said != last_said:
            known = self.known_heads.find(said)
            if known is not None:
                connection.last_known = said, known
        head = known or self.invocations.head(request)
        if head is None:
            return None
        self.places.has_head(connection)
        return QuickCall(self, connection, request, None if known else said, head)

    def begun(self, request_id: str) -> float:
        """Note that a call has begun, and return when."""
        self._unsent.begun(request_id)
        return self._measured.begun() if self._measured is not None else time.perf_counter()

    def ended(self, request_id: str, began: float, request: web.BaseRequest, response: ViewerResponse | None) -> None:
        """Note that a call has ended. response: None if its viewer left before there was one."""
        if self._notes is not None and response is not None:
            self._notes.answered(request_id, response)
        if self._responses is not None and response is not None:
            self._responses.ended(began, response)
        if self._measured is not None:
            self._measured.ended(request_id, began, request.content.total_bytes, response)
        self._unsent.ended(request_id)

    async def _serve(self, request: web.BaseRequest) -> ViewerResponse:
        request_id = next(self.ids)
        self.places.has_head(request.protocol)
        if self._health is not None and (page := self._health.page(request.method, request.raw_path)) is not None:
            return unread(request, page)
        is_plain, request = self._proxies.says_plain_http(request), self._proxies.seen(request)
        began, response = self.begun(request_id), None
        try:
            # SECURITY: what crossed a network in the clear is not taken (test_plain_http_at_a_proxy_is_refused).
            if is_plain:
                line = {"door": "edge", "reason": "plain_http", "status": 403, "request_id": request_id}
                logging.getLogger("keybroker").info(json.dumps(line))
                response = unread(request, error_response("plain_http", request_id))
            else:
                response = await self.respond(request, request_id)
            return response
        finally:
            self.ended(request_id, began, request, response)

    async def respond(self, request: web.BaseRequest, request_id: str) -> ViewerResponse:
        """Return the response to a request, of which some may have been sent."""
        try:
            return await self._responded(request, request_id)
        finally:
            if kept := request.get(KEPT):
                kept.close()

    async def _responded(self, request: web.BaseRequest, request_id: str) -> ViewerResponse:
        error_name = request_error(request)
        if error_name == "upgrade" and self._allow_web_sockets:
            error_name = None if web_sockets.is_handshake(request) else "handshake"
        if error_name is not None:
            return unread(request, error_response(error_name, request_id))
        try:
            result = await self.invocations.invoke(request, request_id)
        except Exception as error:  # noqa: BLE001 - any error in the function is a 502, as at CloudFront
            return unread(request, not_decided(error, request_id))
        if isinstance(result, GeneratedResponse):
            return unread(request, generated_response(result))
        # What goes to the broker is verified by nobody yet, so its connection waits like its sender.
        with contextlib.nullcontext() if result.to_broker else self.places.busy(request.protocol):
            return await self.forwarding.forward(request, result, request_id)


def request_ids() -> Iterator[str]:
    """Yield ids that nobody can guess; to ask the system for each takes as long as for many at once."""
    while True:
        text = secrets.token_hex(_ID // 2 * 128)
        yield from (text[place : place + _ID] for place in range(0, len(text), _ID))


def make_distribution(  # noqa: PLR0913  named, each with a default
    function: Handler | EdgeDoor,
    *,
    broker: str | None = None,
    connections: int = MOST_CONNECTIONS,
    provider_below: int | None = None,
    unsent: Unsent | None = None,
    running: RunningCalls | None = None,
    answers: AnswerTally | None = None,
    settlements: Settlements | None = None,
    url: str = "",
    read_timeout: int | None = READ_TIMEOUT,
    **more: Unpack[Options],
) -> Distribution:
    """Return a distribution with this edge function, called on the event loop, or in a thread for a body that takes long.

    function: the handler that Lambda@Edge would run, which is given events, or the door to the same rules without any.
    broker: the base URL for `/anthropic/v1/oauth/token`, a cache behaviour without a function; None leaves it out.
    connections: open ones at most; a newcomer takes the place of one that waits, and three quarters of them may have a call.
    provider_below: see `OriginClient`. unsent: is told which calls were sent, and gives back those that were not.
    running, answers, settlements: the caller has the first `watch`, and the others `keep`.
    url: the edge's own; with it, providers' addresses of their own in answers become the edge's.
    read_timeout: seconds that a provider may be silent, which the function is told in the event and takes over; None: as
    long as it likes, whatever the function says.
    Call it in the running event loop. Raises ValueError if `broker` is not an http(s) URL with a host name.
    """
    places = Connections("edge", connections, max(1, connections * 3 // 4))
    if (measured := more.get("measured")) is not None:
        measured.doors.append(places)
    unsent = unsent or Unsent()
    bursts = Bursts(lambda: unsent.under_way)
    accounts = Accounts(unsent, running or RunningCalls(), answers or AnswerTally(), settlements or Settlements())
    forwarding = Forwarding(OriginClient(provider_below, bursts), accounts, url, silence=read_timeout is None)
    decide = edge_function.of(function, read_timeout or READ_TIMEOUT)
    invocations = _take_invocations(more, decide, broker, places, unsent)
    rest = cast("Any", more)  # what was not taken out of it: no type says that
    return Distribution(invocations, places, forwarding, unsent, bursts, **rest)


def _take_invocations(
    options: Options, decide: Decide, broker: str | None, places: Connections, unsent: Unsent
) -> Invocations:
    return Invocations(
        decide,
        broker,
        places,
        unsent,
        over_network=options.pop("over_network", False),
        read_and_count_all=options.pop("read_and_count_all", None),
        needs_whole_body=options.pop("needs_whole_body", None),
    )


def make_runner(distribution: Distribution, *, grace: float = 3.0) -> web.ServerRunner:
    """Return the runner to add sites to. grace: seconds that running calls have to finish on clean-up."""
    return web.ServerRunner(distribution, shutdown_timeout=grace)
