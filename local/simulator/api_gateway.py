"""API Gateway on one machine: real HTTP in front of Chalice apps, as their Lambda functions would be called.

The event loop reads and answers; the apps run in threads, one app object in each, since a Chalice app knows only one
current request. What API Gateway checks is checked here: routes, sizes, times and, where a route asks for IAM, who signed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from chalice.app import Chalice

from local.simulator.proxy_event import Answer, Arrived, MalformedAnswer, Route, Routes, build_event, read_answer
from local.simulator.sigv4 import MAX_BODY_BYTES, Caller, SignatureRefused, SignedRequest

Authenticate = Callable[[SignedRequest, int], Caller]

MAX_HEADER_BYTES = 10_240
CALLS_WAITING = 128

_LOG = logging.getLogger(__name__)
_PARSER_LIMIT = 16 * 1024  # above MAX_HEADER_BYTES, so that it is this file that answers
_MAX_HEADERS = 256
_REFUSALS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        400: ("invalid_request", "Bad Request"),
        403: ("access_denied", "Forbidden"),
        404: ("invalid_request", "Not Found"),
        405: ("invalid_request", "Method Not Allowed"),
        408: ("invalid_request", "Request Timeout"),
        413: ("invalid_request", "Content Too Large"),
        431: ("invalid_request", "Request Header Fields Too Large"),
        502: ("server_error", "Bad Gateway"),
        503: ("temporarily_unavailable", "Service Unavailable"),
        504: ("temporarily_unavailable", "Gateway Timeout"),
    }
)


class Refused(Exception):
    """The gateway's own "no". status: one of _REFUSALS. detail: text for the caller; holds nothing of the app's."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class CallContext:
    """The context object that Lambda hands to a handler. deadline: on the monotonic clock, seconds."""

    function_name: str
    deadline: float
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    log_group_name: str = ""
    log_stream_name: str = ""
    identity: None = None
    client_context: None = None

    @property
    def invoked_function_arn(self) -> str:
        """An ARN of no account: nothing may be decided by it."""
        return f"arn:aws:lambda:local:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the gateway gives the call up."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class _Api:
    """One app behind the gateway: its routes, its threads and places, and an app object for each of the threads.

    pool: what calls run in. places: for as many as run, and CALLS_WAITING more.
    """

    def __init__(self, name: str, factory: Callable[[], Chalice], workers: int) -> None:
        self.name = name
        self.routes = Routes(factory())
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix=f"gateway-{name}")
        self.places = threading.BoundedSemaphore(workers + CALLS_WAITING)
        self._factory = factory
        self._here = threading.local()

    def call(self, arrived: Arrived, route: Route, authenticate: Authenticate, deadline: float) -> Answer:
        """Runs in a worker thread. Raises Refused: 403 not signed by a known caller, 502 the app failed."""
        context = CallContext(f"keybroker-{self.name}", deadline)
        try:
            caller = None
            # SECURITY: a route that asks for IAM never runs unverified (test_an_unsigned_request_is_refused).
            if route.signed[arrived.request.method]:
                caller = authenticate(arrived.request, int(arrived.at))
            event = build_event(arrived, route, caller, self.routes.binary_types)
            return read_answer(self._app()(event, context))
        except SignatureRefused as refused:
            raise Refused(403, str(refused)) from None
        except MalformedAnswer as malformed:
            _LOG.error("malformed answer: %s; request %s", malformed, arrived.request_id)
        except BaseException:  # noqa: BLE001  SystemExit too: it must end the call, as on Lambda, and not the server
            _LOG.exception("call failed; request %s", arrived.request_id)
        # SECURITY: never the exception's text (test_an_exception_is_a_502_without_its_text).
        raise Refused(502, "the broker failed to answer")

    def _app(self) -> Chalice:
        if not hasattr(self._here, "app"):
            self._here.app = self._factory()
        app: Chalice = self._here.app
        return app


class _Connection(web.RequestHandler):
    """What aiohttp cannot parse never reaches the gateway; it answers here, in the gateway's form, without the client's text."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A 431 or 400 for what the parser refused, a 502 for a fault of the gateway's own."""
        if status >= 500:
            _LOG.error("the gateway failed", exc_info=exc)
            refused = Refused(502, "the broker failed to answer")
        elif isinstance(exc, LineTooLong) or "Too many headers" in (message or ""):
            refused = Refused(431, "the headers are too large")
        else:
            refused = Refused(400, "the request is not HTTP")
        return _refusal(refused, str(uuid.uuid4()), admin=False)


class Gateway(web.Server):
    """See make_gateway. Closing the server (ServerRunner does) ends its threads once their calls are done."""

    call_seconds: float = 29.0
    """How long a call may take: API Gateway's integration time-out."""
    body_seconds: float = 29.0
    """How long a body may take to arrive."""

    def __init__(self, apis: tuple[_Api, _Api], authenticate: Authenticate, stage: str) -> None:
        super().__init__(self._respond)
        self._public, self._admin = apis
        self._authenticate = authenticate
        self._stage = stage

    def __call__(self) -> web.RequestHandler:
        """One connection's protocol. Bodies stay as sent, compressed or not: that is what was signed."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to say none
            auto_decompress=False,
            max_line_size=_PARSER_LIMIT,
            max_field_size=_PARSER_LIMIT,
            max_headers=_MAX_HEADERS,
            keepalive_timeout=60.0,
            lingering_time=2.0,
        )

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's signature
        """Ends connections as aiohttp does, then the threads. timeout: seconds for calls under way."""
        await super().shutdown(timeout)
        for api in (self._public, self._admin):
            api.pool.shutdown(wait=False, cancel_futures=True)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        path = request.raw_path.partition("?")[0]
        is_admin = path == "/admin" or path.startswith("/admin/")
        try:
            answer = await self._proxy(request, self._admin if is_admin else self._public, request_id)
        except Refused as refused:
            return _refusal(refused, request_id, admin=is_admin)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            response.headers.add(name, value)
        response.headers.setdefault("x-request-id", request_id)
        return response

    async def _proxy(self, request: web.BaseRequest, api: _Api, request_id: str) -> Answer:
        _check_head(request)
        route = api.routes.match(request.raw_path.partition("?")[0])
        if route is None:
            raise Refused(404, "there is nothing at this path")
        if request.method not in route.signed:
            raise Refused(405, "this path has other methods", {"Allow": ", ".join(sorted(route.signed))})
        body = await self._body(request)
        # SECURITY: the peer's address, never a header's (test_a_client_cannot_name_itself).
        arrived = Arrived(
            SignedRequest(request.method, request.raw_path, tuple(request.headers.items()), body),
            source_ip=request.remote or "",
            protocol=f"HTTP/{request.version.major}.{request.version.minor}",
            request_id=request_id,
            at=time.time(),
            stage=self._stage,
        )
        return await self._call(api, arrived, route)

    async def _body(self, request: web.BaseRequest) -> bytes:
        too_large = Refused(413, "the body is larger than 10 MB")
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise too_large
        except TimeoutError:
            raise Refused(408, "the body took too long") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise Refused(400, "the body did not arrive whole") from None
        return bytes(body)

    async def _call(self, api: _Api, arrived: Arrived, route: Route) -> Answer:
        # SECURITY: each API has threads and places of its own, so that exchanges that wait for an issuer's keys put off
        # no revocation (test_a_revocation_is_answered_while_every_place_waits_for_an_issuer).
        if not api.places.acquire(blocking=False):
            raise Refused(503, "too many calls at once", {"Retry-After": "1"})
        deadline = time.monotonic() + self.call_seconds
        call = api.pool.submit(api.call, arrived, route, self._authenticate, deadline)
        # A call that is given up keeps its place until its thread is free again: threads are what is scarce.
        call.add_done_callback(lambda _: api.places.release())
        try:
            async with asyncio.timeout(self.call_seconds):
                return await asyncio.wrap_future(call)
        except TimeoutError:
            raise Refused(504, "the broker took too long") from None


def make_gateway(
    public: Callable[[], Chalice],
    admin: Callable[[], Chalice],
    authenticate: Authenticate,
    *,
    stage: str = "api",
    workers: int = 8,
) -> Gateway:
    """API Gateway in front of two apps: `/admin` and below goes to admin, everything else to public. Needs a running loop.

    public, admin: make an app; called once here and once in each worker thread. authenticate: who signed a request, at
    seconds since 1970; called in worker threads; raises SignatureRefused, which the caller sees as a 403. workers: how
    many calls of each app run at once; 128 more of each wait, others get a 503.
    Raises ValueError: a route asks for an authorizer that cannot be checked here.
    """
    return Gateway((_Api("public", public, workers), _Api("admin", admin, workers)), authenticate, stage)


def _check_head(request: web.BaseRequest) -> None:
    size = len(f"{request.method} {request.raw_path} HTTP/1.1\r\n\r\n")
    size += sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    if size > MAX_HEADER_BYTES:
        raise Refused(431, "the headers are larger than 10,240 bytes")
    if not request.raw_path.startswith("/"):
        raise Refused(400, "the request names no path")


def _refusal(refused: Refused, request_id: str, *, admin: bool) -> web.Response:
    """The answer for a Refused, in the form of the API that it concerns. Faulty requests end their connection."""
    error, title = _REFUSALS[refused.status]
    body: dict[str, object]
    if admin:
        body = {"type": "about:blank", "title": title, "status": refused.status, "detail": refused.detail}
    else:
        body = {"error": error, "error_description": refused.detail}
    response = web.Response(
        status=refused.status,
        body=json.dumps(body | {"request_id": request_id}).encode(),
        headers={**refused.headers, "x-request-id": request_id, "request-id": request_id, "cache-control": "no-store"},
        content_type="application/problem+json" if admin else "application/json",
    )
    if refused.status in {400, 408, 413, 431}:
        response.force_close()
    return response
