"""CloudFront on one machine: each request goes through the edge function and then, streamed both ways, to the origin."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from aiohttp import web

from chalicelib.edge.admission import Begun
from chalicelib.edge.door import EdgeDoor, Request
from chalicelib.models.body import CallBody
from chalicelib.providers import paths
from local.simulator import edge_function, web_sockets
from local.simulator.answer_tally import AnswerTally
from local.simulator.broker_cache_behaviour import BrokerCacheBehaviour
from local.simulator.cloudfront_errors import location
from local.simulator.connections import Connections
from local.simulator.counting_together import WORTH_IT, CountingTogether, ReadAndCountAll, give_back
from local.simulator.edge_function import Decide, Direct, Handler
from local.simulator.forwarding import Accounts, Forwarding, is_disconnected
from local.simulator.function_result import GeneratedResponse, MalformedResultError, OriginRequest
from local.simulator.health import Health
from local.simulator.include_body import BUFFERED, INCLUDED_BYTES, NotInvokedError, included_body, receive
from local.simulator.long_invocations import LONG_THREADS, LongInvocations, caller, takes_long
from local.simulator.origin_body import CHUNK
from local.simulator.origin_client import MAX_HEADERS, OriginClient
from local.simulator.origin_request_event import MAX_HEAD, READ_TIMEOUT, received, request_error
from local.simulator.refusal_notes import RefusalNotes
from local.simulator.response_tally import ResponseTally
from local.simulator.running_calls import RunningCalls
from local.simulator.settlements import Settlements
from local.simulator.trusted_proxies import NOBODY, TrustedProxies
from local.simulator.unsent import Unsent
from local.simulator.viewer_connection import ViewerConnection
from local.simulator.viewer_response import ViewerResponse, error_response, generated_response, unread
from local.simulator.waiting_invocations import WaitingInvocations
from local.simulator.whole_bodies import KEPT, WholeBodies

if TYPE_CHECKING:  # it takes a library that a server without numbers does without
    from local.metrics.measured import Measured

NeedsWholeBody = Callable[[Request], bool]

IDLE_TIMEOUT: Final = 75.0  # seconds that a viewer's connection may stay open without a complete request
MOST_CONNECTIONS: Final = 4_096
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
        decide: Decide,
        broker: BrokerCacheBehaviour | None,
        places: Connections,
        forwarding: Forwarding,
        unsent: Unsent,
        *,
        needs_whole_body: NeedsWholeBody | None = None,
        allow_web_sockets: bool = False,
        over_network: bool = False,
        health: Health | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        read_and_count_all: ReadAndCountAll | None = None,
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
        self._decide, self._broker, self._places = decide, broker, places
        self._forwarding, self._unsent, self._proxies = forwarding, unsent, proxies
        self._measured, self._notes, self._responses = measured, notes, responses
        self._waiting = WaitingInvocations() if over_network else None
        self._long = LongInvocations(WaitingInvocations(LONG_THREADS) if over_network else None)
        self._together = None if read_and_count_all is None else CountingTogether(read_and_count_all)
        self._health, self._allow_web_sockets = health, allow_web_sockets
        self._needs_whole_body, self._whole_bodies = needs_whole_body, WholeBodies()

    def __call__(self) -> web.RequestHandler:
        """Return one viewer's connection (this is asyncio's protocol factory)."""
        return ViewerConnection(self._places, self, loop=self._loop, **self._kwargs)

    async def close(self) -> None:
        """Close the connections to origins, and end the threads."""
        self._long.close()
        if self._waiting is not None:
            self._waiting.close()
        await self._forwarding.close()

    async def _serve(self, request: web.BaseRequest) -> ViewerResponse:
        request_id = secrets.token_hex(16)
        self._places.has_head(request.protocol)
        if self._health is not None and (page := self._health.page(request.method, request.raw_path)) is not None:
            return unread(request, page)
        is_plain, request = self._proxies.says_plain_http(request), self._proxies.seen(request)
        self._unsent.begun(request_id)
        measured, response = self._measured, None
        began = measured.begun() if measured is not None else time.perf_counter()
        try:
            # SECURITY: what crossed a network in the clear is not taken (test_plain_http_at_a_proxy_is_refused).
            if is_plain:
                response = unread(request, error_response("plain_http", request_id))
            else:
                response = await self._respond(request, request_id)
            return response
        finally:
            if self._notes is not None and response is not None:
                self._notes.answered(request_id, response)
            if self._responses is not None and response is not None:
                self._responses.ended(began, response)
            if measured is not None:
                measured.ended(request_id, began, request.content.total_bytes, response)
            self._unsent.ended(request_id)
            if kept := request.get(KEPT):
                kept.close()

    async def _respond(self, request: web.BaseRequest, request_id: str) -> ViewerResponse:
        error_name = request_error(request)
        if error_name == "upgrade" and self._allow_web_sockets:
            error_name = None if web_sockets.is_handshake(request) else "handshake"
        if error_name is not None:
            return unread(request, error_response(error_name, request_id))
        try:
            result = await self._invoke(request, request_id)
        except NotInvokedError as error:
            return unread(request, error_response(error.name, request_id))
        except MalformedResultError as error:
            _LOG.error("request %s: the edge function returned a malformed result: %s", request_id, error)
            return unread(request, error_response("function", request_id))
        except Exception as error:  # noqa: BLE001 - any error in the function is a 502, as at CloudFront
            # SECURITY: its text is neither sent nor logged (test_exception_in_the_function_is_a_502).
            _LOG.error(
                "request %s: the edge function raised %s at %s", request_id, type(error).__name__, location(error)
            )
            return unread(request, error_response("function", request_id))
        if isinstance(result, GeneratedResponse):
            return unread(request, generated_response(result))
        # What goes to the broker is verified by nobody yet, so its connection waits like its sender.
        with contextlib.nullcontext() if result.to_broker else self._places.busy(request.protocol):
            return await self._forwarding.forward(request, result, request_id)

    async def _invoke(self, request: web.BaseRequest, request_id: str) -> OriginRequest | GeneratedResponse:
        asked = received(request)
        to_broker = None if self._broker is None else self._broker.origin_request(asked)
        if to_broker is not None:
            return to_broker
        if web_sockets.are_asked(request):
            # SECURITY: what reads opens no conversation (test_a_get_scope_opens_no_web_socket).
            asked = asked._replace(headers=web_sockets.with_token(asked.headers), method=paths.WEB_SOCKET)
        await receive(request)
        if is_disconnected(request):
            raise NotInvokedError("malformed")  # nobody will see the answer
        whole = await self._whole(request, asked) if len(request.get(BUFFERED, b"")) > INCLUDED_BYTES else None

        def invoke() -> OriginRequest | GeneratedResponse:
            self._check_places()
            return self._decide(asked._replace(body=whole or included_body(request, asked.headers)), request_id)

        # SECURITY: a body that takes long to read holds up nobody else's call
        # (test_a_call_completes_while_a_body_is_read).
        if takes_long(request.get(BUFFERED, b"")):
            return await self._long.run(caller(request), invoke)
        if self._waiting is not None:
            return await self._waiting.run(invoke)
        if self._together is None or not isinstance(self._decide, Direct) or self._unsent.under_way < WORTH_IT:
            return invoke()
        shown = asked._replace(body=included_body(request, asked.headers))
        return await self._invoke_together(self._decide, self._together, shown, request_id)

    def _check_places(self) -> None:
        # SECURITY: so many calls at once that no connection waits would leave a newcomer no place to take
        # (test_more_calls_than_places_are_refused).
        if self._places.is_busy:
            raise NotInvokedError("too_many_calls")

    async def _invoke_together(
        self, decide: Direct, together: CountingTogether, asked: Request, request_id: str
    ) -> OriginRequest | GeneratedResponse:
        """Decide on a call that is counted with those that come in the same turn of the event loop."""
        self._check_places()
        begun = decide.begin(asked, request_id)
        if not isinstance(begun, Begun):
            return begun
        # SECURITY: committed before anything of it is sent (test_nothing_is_sent_before_the_commit).
        await together.count(begun)
        try:
            self._check_places()  # others of its group may have taken the last of them
        except NotInvokedError:
            give_back(begun)
            raise
        return decide.finish(asked, request_id, begun)

    async def _whole(self, request: web.BaseRequest, asked: Request) -> CallBody | None:
        """Receive a long body whole if its call is decided by what may come last, and return its outline."""
        needs_whole_body = self._needs_whole_body
        if needs_whole_body is None:
            return None
        whose = caller(request)
        if not await self._long.run(whose, lambda: needs_whole_body(asked)):
            return None
        return await self._whole_bodies.receive(request, whose, included_body(request, asked.headers))


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
    running: ends those under way that must not run on; the caller has it `watch`.
    answers: adds up what answers say that they took; the caller has it `keep` that.
    settlements: settles calls that have reserved a part of a budget; the caller has it `keep` what failed.
    url: the edge's own; with it, providers' addresses of their own in answers become the edge's.
    read_timeout: seconds that a provider may be silent, which the function is told in the event and takes over; None: as
    long as it likes, whatever the function says.
    Call it in the running event loop. Raises ValueError if `broker` is not an http(s) URL with a host name.
    """
    places = Connections("edge", connections, max(1, connections * 3 // 4))
    if (measured := more.get("measured")) is not None:
        measured.doors.append(places)
    behaviour = None if broker is None else BrokerCacheBehaviour(broker)
    unsent = unsent or Unsent()
    accounts = Accounts(unsent, running or RunningCalls(), answers or AnswerTally(), settlements or Settlements())
    forwarding = Forwarding(OriginClient(provider_below), accounts, url, silence=read_timeout is None)
    seconds = read_timeout or READ_TIMEOUT
    return Distribution(edge_function.of(function, seconds), behaviour, places, forwarding, unsent, **more)


def make_runner(distribution: Distribution, *, grace: float = 3.0) -> web.ServerRunner:
    """Return the runner to add sites to. grace: seconds that running calls have to finish on clean-up."""
    return web.ServerRunner(distribution, shutdown_timeout=grace)
