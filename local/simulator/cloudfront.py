"""CloudFront on one machine: each request goes through the edge function and then, streamed both ways, to the origin."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, hdrs, web
from aiohttp.http_exceptions import LineTooLong

from local.simulator.broker_behaviour import BrokerBehaviour
from local.simulator.function_result import (
    GeneratedResponse,
    MalformedResultError,
    OriginRequest,
    fixed_headers,
    parse_result,
)
from local.simulator.include_body import BodyNotReceivedError, expose
from local.simulator.origin_client import (
    CHUNK,
    MAX_HEADERS,
    BrokenConnectionError,
    make_session,
    move_on,
    of_one_spelling,
    outgoing,
    passed_headers,
    timeouts,
)
from local.simulator.origin_event import MAX_HEAD, Event, LambdaContext, make_event, objection
from local.simulator.viewer_response import ViewerResponse, door_response

Handler = Callable[[Event, LambdaContext], dict[str, Any]]

FUNCTION_TIMEOUT: Final = 30.0  # seconds, as Lambda@Edge; told to the function, which is quick
IDLE_TIMEOUT: Final = 75.0  # seconds that a viewer's connection may be without a whole request
_LOG: Final = logging.getLogger(__name__)


class _ViewerConnection(web.RequestHandler):
    """aiohttp's connection, with the door's own errors in place of its texts, which quote headers."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed (413 if it was only too large), or a fault of this module (502)."""
        if request.writer.output_size > 0:
            raise ConnectionError  # part of an answer is out, so that the connection must break
        too_large = isinstance(exc, LineTooLong) or (message or "").startswith("Too many headers")
        name = "function" if status >= 500 else "too_large" if too_large else "malformed"
        request_id = secrets.token_hex(16)
        # SECURITY: the text holds the header that was wrong (test_a_malformed_request_is_answered_without_quoting_it).
        _LOG.warning("request %s: %s (%s)", request_id, name, type(exc).__name__)
        response = door_response(name, request_id)
        response.force_close()
        return response


class Distribution(web.Server):
    """The data path: an aiohttp server to mount with `make_runner`. `close()` it after the runner's clean-up."""

    def __init__(self, handler: Handler, broker: str | None) -> None:
        super().__init__(
            self._serve,
            # aiohttp's default is to let a call run on when its viewer has gone; upstream it would cost money.
            handler_cancellation=True,
            access_log=None,  # a request line may hold a token (?key=)
            keepalive_timeout=IDLE_TIMEOUT,
            auto_decompress=False,
            read_bufsize=CHUNK,
            # The parser's limits are for one line each; the exact ones are in `objection`.
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEADERS,
        )
        self._handler = handler
        self._broker = None if broker is None else BrokerBehaviour(broker)
        self._session = make_session()

    def __call__(self) -> web.RequestHandler:
        """One viewer's connection (asyncio's protocol factory)."""
        return _ViewerConnection(self, loop=self._loop, **self._kwargs)

    async def close(self) -> None:
        """Close the connections to origins."""
        await self._session.close()

    async def _serve(self, request: web.BaseRequest) -> ViewerResponse:
        request_id = secrets.token_hex(16)
        refusal = objection(request)
        if refusal is not None:
            return _unread(request, door_response(refusal, request_id))
        try:
            order = await self._decide(request, request_id)
        except BodyNotReceivedError as error:
            return _unread(request, door_response(error.name, request_id))
        except MalformedResultError as error:
            _LOG.error("request %s: malformed result of the edge function: %s", request_id, error)
            return _unread(request, door_response("function", request_id))
        except Exception as error:  # noqa: BLE001 - any fault of the function is a 502, as at CloudFront
            # SECURITY: its text goes nowhere (test_a_function_that_raises_is_answered_502_without_its_text).
            _LOG.error("request %s: the edge function raised %s at %s", request_id, type(error).__name__, _place(error))
            return _unread(request, door_response("function", request_id))
        if isinstance(order, GeneratedResponse):
            return _unread(request, ViewerResponse(order.status, order.reason, order.headers, order.body))
        return await self._forward(request, order, request_id)

    async def _decide(self, request: web.BaseRequest, request_id: str) -> OriginRequest | GeneratedResponse:
        event = make_event(request, request_id)
        asked: dict[str, Any] = event["Records"][0]["cf"]["request"]
        to_broker = None if self._broker is None else self._broker.order(asked)
        if to_broker is not None:
            return to_broker
        asked |= await expose(request)
        fixed = fixed_headers(asked["headers"])
        context = LambdaContext(request_id, time.monotonic() + FUNCTION_TIMEOUT)
        return parse_result(self._handler(event, context), request.method, fixed)

    async def _forward(self, request: web.BaseRequest, order: OriginRequest, request_id: str) -> ViewerResponse:
        response: ViewerResponse | None = None
        try:
            async with asyncio.timeout(None) as watch:
                order.headers.append(("X-Amz-Cf-Id", request_id))
                upstream = await self._send(request, order, watch)
                try:
                    response = ViewerResponse(upstream.status, upstream.reason or "", passed_headers(upstream))
                    _end_after_chunks(request, response)
                    await _stream(request, upstream, response, watch)
                finally:
                    # Already back in the pool if read to its end; else (hang-up, fault) this ends the call upstream.
                    upstream.close()
        except (TimeoutError, ClientError, OSError, ValueError) as error:
            if not _is_gone(request):
                _LOG.warning("request %s: origin %s: %s", request_id, order.url.host, type(error).__name__)
            if response is None:
                return _unread(request, door_response(_fault(request, error), request_id))
            response.abort(request)
        return response

    async def _send(self, request: web.BaseRequest, order: OriginRequest, watch: asyncio.Timeout) -> ClientResponse:
        upstream = await self._session.request(
            request.method,
            order.url,
            headers=of_one_spelling(order.headers),
            data=outgoing(request, watch),
            timeout=timeouts(order.read_timeout),
            allow_redirects=False,
        )
        if upstream.status < 200:
            upstream.close()
            raise BrokenConnectionError  # it switches protocols, which nobody asked for
        return upstream


def make_distribution(handler: Handler, *, broker: str | None = None) -> Distribution:
    """A distribution in front of `handler(event, context)`, which is called on the event loop and must be quick.

    `broker` is the base URL that answers `/anthropic/v1/oauth/token`, a behaviour without a function.
    To be called inside the running loop. Raises ValueError if `broker` is not an http(s) URL with a host name.
    """
    return Distribution(handler, broker)


def make_runner(distribution: Distribution, *, grace: float = 3.0) -> web.ServerRunner:
    """The runner to add sites to; on clean-up running calls have `grace` seconds to end by themselves."""
    return web.ServerRunner(distribution, shutdown_timeout=grace)


async def _stream(
    request: web.BaseRequest, upstream: ClientResponse, response: ViewerResponse, watch: asyncio.Timeout
) -> None:
    """Send the origin's answer on as it comes, each piece at once."""
    content = upstream.content
    move_on(watch)
    await response.begin(request, content)
    while not content.at_eof():
        chunk = await content.read(CHUNK)  # a viewer that reads slowly must not have all that has come held for it
        move_on(watch)
        if chunk:
            await response.write(chunk)
    await response.write_eof()


def _unread(request: web.BaseRequest, response: ViewerResponse) -> ViewerResponse:
    """An answer before the body was asked for: a viewer that waits for 100-continue may not send it any more."""
    if hdrs.EXPECT in request.headers:
        response.force_close()
    _end_after_chunks(request, response)
    return response


def _end_after_chunks(request: web.BaseRequest, response: ViewerResponse) -> None:
    """Make this the connection's last answer if the request came in chunks, whatever the viewer sends after it."""
    # SECURITY: aiohttp 3.14 takes the last trailer of one request for the first header of the next on the connection,
    # where it could be another caller's, behind a proxy (test_a_trailer_of_one_call_is_no_header_of_the_next).
    if hdrs.TRANSFER_ENCODING in request.headers:
        response.force_close()


def _is_gone(request: web.BaseRequest) -> bool:
    """Whether the viewer has gone away, which fails what is written to it before aiohttp cancels the call."""
    return request.transport is None or request.transport.is_closing()


def _fault(request: web.BaseRequest, error: Exception) -> str:
    if request.content.exception() is not None:
        return "malformed"  # the viewer's own body broke off or could not be parsed
    return "timeout" if isinstance(error, TimeoutError) else "origin"


def _place(error: BaseException) -> str:
    """Where it was raised, `function:line`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
