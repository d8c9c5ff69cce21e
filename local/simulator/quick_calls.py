"""Calls that come whole, as nearly all do: decided and sent on as they arrive, where a task for each would take as long again.

What turns out to take longer gets a task after all: a body that takes long to read, or a new connection to the origin.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final, cast

from aiohttp import StreamReader, hdrs, web
from aiohttp.http import HttpVersion11, RawRequestMessage, StreamWriter

from chalicelib.edge.admission import Begun
from chalicelib.edge.door import Request
from local.simulator import include_body, origin_exchange
from local.simulator.counting_together import Waiting, give_back
from local.simulator.edge_function import Direct
from local.simulator.forwarding import is_disconnected
from local.simulator.function_result import GeneratedResponse, OriginRequest
from local.simulator.include_body import BUFFERED, NotInvokedError
from local.simulator.invocations import not_decided
from local.simulator.known_heads import KnownHead, Words
from local.simulator.large_bodies import SMALL
from local.simulator.long_invocations import takes_long
from local.simulator.passing import Passing
from local.simulator.settlements import Settlement
from local.simulator.viewer_response import ViewerResponse, generated_response, unread

if TYPE_CHECKING:
    from local.simulator.cloudfront import Distribution
    from local.simulator.viewer_connection import ViewerConnection

_NO_TASK: Final = cast("asyncio.Task[None]", None)
"""aiohttp's requests know the task that serves them, only to forget it at its end."""
_LOG: Final = logging.getLogger("local.simulator.cloudfront")


def whole_request(
    connection: ViewerConnection,
    message: RawRequestMessage,
    content: StreamReader,
    loop: asyncio.AbstractEventLoop,
) -> web.BaseRequest | None:
    """Return a request that is there whole and asks for nothing but its answer; None for any other."""
    if (
        message.version != HttpVersion11
        or message.chunked
        or message.upgrade
        or not content.is_eof()
        or content.total_bytes > SMALL
        or hdrs.EXPECT in message.headers
        or (content.total_bytes and message.method not in include_body.WITH_BODIES)
    ):
        return None
    writer = StreamWriter(connection, loop)
    return web.BaseRequest(message, content, connection, writer, _NO_TASK, loop)


class QuickCall:
    """One call of a viewer's connection, for which there is a place. `quick_ended` tells the connection that the next may be served."""

    __slots__ = (
        "_asked",
        "_began",
        "_body",
        "_connection",
        "_distribution",
        "_head",
        "_id",
        "_is_busy",
        "_is_over",
        "_origin_request",
        "_passing",
        "_request",
        "_settlement",
        "_task",
        "_waiting",
        "_words",
    )
    _began: float
    _asked: Request
    _origin_request: OriginRequest
    _settlement: Settlement

    def __init__(
        self,
        distribution: Distribution,
        connection: ViewerConnection,
        request: web.BaseRequest,
        words: Words | None,
        head: KnownHead,
    ) -> None:
        """request: without a `request_error`. words: None if their head is known, else it is new."""
        self._distribution, self._connection, self._request = distribution, connection, request
        self._words, self._head = words, head
        self._id = next(distribution.ids)
        self._waiting: Waiting | None = None
        self._passing: Passing | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: bytearray | None = None
        self._is_busy = self._is_over = False

    def begin(self) -> None:
        """Serve the call. Raises nothing."""
        request, distribution = self._request, self._distribution
        self._began = distribution.begun(self._id)
        if request.method in include_body.WITH_BODIES:
            body = self._body = bytearray(request.content.read_nowait())
            if takes_long(body):
                self._serve_by_task(distribution.respond(request, self._id))
                return
        try:
            self._decide(distribution)
        except Exception as error:  # noqa: BLE001  any error in the function is a 502, as at CloudFront
            self._answer(unread(request, not_decided(error, self._id)))

    def left(self) -> None:
        """End the call: its viewer is gone."""
        if self._is_over:
            return
        if self._task is not None:
            # It ends the rest: after its first step, for a task that is cancelled before that never runs at all.
            asyncio.get_running_loop().call_soon(self._task.cancel)
            return
        if self._waiting is not None:
            self._waiting.leave()
        if self._passing is not None:
            self._passing.left()
            self._distribution.forwarding.settle(self._id, self._settlement)
        self._waiting = self._passing = None  # which would call this one
        self._end(None)

    def drained(self) -> None:
        """Go on: the viewer takes more."""
        if self._passing is not None:
            self._passing.moved()

    def _decide(self, distribution: Distribution) -> None:
        asked = self._asked = self._head.asked_with(self._body)
        grouping = distribution.invocations.grouping()
        if grouping is None:
            self._go_on(distribution.invocations.decide(asked, self._id))
            return
        decide, together = grouping
        begun = decide.begin(asked, self._id)
        if not isinstance(begun, Begun):
            self._go_on(begun)
            return
        # SECURITY: committed before anything of it is sent (test_nothing_is_sent_before_the_commit).
        self._waiting = together.add(begun, functools.partial(self._is_counted, decide, begun))

    def _is_counted(self, decide: Direct, begun: Begun) -> None:
        self._waiting = None
        try:
            if is_disconnected(self._request):
                give_back(begun)
                raise NotInvokedError("malformed")  # nobody will see the answer
            self._go_on(self._distribution.invocations.finish(decide, self._asked, self._id, begun))
        except Exception as error:  # noqa: BLE001  as in `begin`
            self._answer(unread(self._request, not_decided(error, self._id)))

    def _go_on(self, result: OriginRequest | GeneratedResponse) -> None:
        if isinstance(result, GeneratedResponse):
            self._answer(generated_response(result))
            return
        distribution, request = self._distribution, self._request
        distribution.places.begin(self._connection)
        self._is_busy = True
        self._origin_request, forwarding = result, distribution.forwarding
        self._settlement = forwarding.settlement(self._id)
        passing = Passing(forwarding, request, result, self._id, self._settlement, self._has_passed)
        self._passing = passing
        if self._words is not None and isinstance(distribution.invocations.decide, Direct):
            distribution.known_heads.add(self._words, self._head)
        if not passing.begin(self._message(result)):
            self._passing = None
            self._forward()

    def _message(self, origin_request: OriginRequest) -> bytes:
        """Return the request for an origin: its head, and its body."""
        request = self._request
        if self._words is None:
            head = self._head.form(origin_request, request.method).head(self._length, self._id)
        else:
            head = origin_exchange.head_of(request.method, origin_request, self._id)
        return head + self._body if self._body else head

    @property
    def _length(self) -> str:
        return self._request.headers.get(hdrs.CONTENT_LENGTH, "")

    def _forward(self, settlement: Settlement | None = None) -> None:
        # SECURITY: the length of this very body, not of that with which the head came first
        # (test_a_known_head_frames_each_body).
        asked = self._origin_request.with_length(self._length)
        self._serve_by_task(self._distribution.forwarding.forward(self._request, asked, self._id, settlement))

    def _has_passed(self, response: ViewerResponse | None) -> None:
        self._passing = None
        if response is None:
            self._forward(self._settlement)
            return
        self._distribution.forwarding.settle(self._id, self._settlement)
        self._answer(response)

    def _serve_by_task(self, serving: Coroutine[object, object, ViewerResponse]) -> None:
        if self._body is not None:
            self._request[BUFFERED] = self._body
        self._task = asyncio.get_running_loop().create_task(self._serve(serving))

    async def _serve(self, serving: Coroutine[object, object, ViewerResponse]) -> None:
        response = None
        try:
            response = await serving
        except Exception as error:  # noqa: BLE001  as in `begin`
            response = unread(self._request, not_decided(error, self._id))
        finally:
            self._task = None
            self._answer(response)

    def _answer(self, response: ViewerResponse | None) -> None:
        """Send a response, unless it was sent, and end. response: None if the viewer is gone."""
        if response is not None:
            try:
                response.finish(self._request)
            except ConnectionError:
                pass  # the viewer is gone, and the connection says so soon
            except Exception as error:  # noqa: BLE001  half of it may be sent
                _LOG.error("request %s: the answer cannot be sent: %s", self._id, type(error).__name__)
                response.abort(self._request)
        self._end(response)

    def _end(self, response: ViewerResponse | None) -> None:
        self._is_over = True
        if self._is_busy:
            self._distribution.places.end(self._connection)
        try:
            self._distribution.ended(self._id, self._began, self._request, response)
        finally:
            self._connection.quick_ended(keep_alive=response is not None and bool(response.keep_alive))
