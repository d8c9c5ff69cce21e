"""API Gateway on one machine: an HTTP server that invokes Chalice apps as Lambda functions, by proxy integration.

The event loop reads requests and writes responses; the apps run in threads, with one app object per thread, since a
Chalice app has only one current request. What API Gateway checks is checked here: routes, sizes, time-outs and, where a
route has an IAM authorizer, the signature.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from chalice.app import Chalice

from local.simulator.connections import Connection, Connections
from local.simulator.gateway_errors import GatewayError, error_response, too_busy
from local.simulator.health import READYZ, Health
from local.simulator.large_bodies import SMALL, LargeBodies, NoPlaceError
from local.simulator.proxy_integration import GatewayRequest, ProxyResponse, Route
from local.simulator.rest_api import Authenticate, RestApi
from local.simulator.sigv4 import MAX_BODY_BYTES, SignedRequest
from local.simulator.trusted_proxies import NOBODY, TrustedProxies

BodyLimits = Mapping[tuple[str, str], int]
"""By method and route: bytes of a body at most, for routes that take more than SMALL."""

MAX_HEADER_BYTES = 10_240
QUEUE_LIMIT = 128
"""Requests of one API that may wait for a thread; fewer at a gateway of few connections."""
MOST_CONNECTIONS = 1_024

_LOG = logging.getLogger(__name__)
_PARSER_LIMIT = 16 * 1024
"""Bytes of a line that aiohttp's parser takes: more than MAX_HEADER_BYTES, so that the 431 is this module's."""
_MAX_HEADERS = 256


class _Connection(Connection):
    """A connection, with the gateway's error responses for requests that cannot be parsed."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return 431 or 400 for a request that the parser rejected, 502 for an error in the gateway itself."""
        if status >= 500:
            _LOG.error("the gateway failed", exc_info=exc)
            error = GatewayError(502, "the broker returned no valid response")
        elif isinstance(exc, LineTooLong) or "Too many headers" in (message or ""):
            error = GatewayError(431, "the headers are too large")
        else:
            error = GatewayError(400, "malformed HTTP request")
        return error_response(error, str(uuid.uuid4()), admin=False)


class Gateway(web.Server):
    """See make_gateway. Closing the server (ServerRunner does) ends its threads once their requests are done."""

    integration_timeout: float = 29.0
    """Seconds that an invocation may take."""
    body_timeout: float = 29.0
    """Seconds that a request body may take to arrive."""

    def __init__(  # noqa: PLR0913  its parts
        self,
        apis: tuple[RestApi, RestApi],
        authenticate: Authenticate,
        stage: str,
        connections: Connections,
        body_limits: BodyLimits | None,
        *,
        proxies: TrustedProxies,
        health: Health | None,
    ) -> None:
        super().__init__(self._respond)
        self._health = health
        self._public, self._admin = apis
        self._proxies = proxies
        self._places = connections
        self._authenticate = authenticate
        self._stage = stage
        self._body_limits = body_limits
        self._large = LargeBodies()

    def __call__(self) -> web.RequestHandler:
        """Return one connection's protocol. Bodies stay as sent, compressed or not: that is what was signed."""
        return _Connection(
            self._places,
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # aiohttp's way to say none
            auto_decompress=False,
            max_line_size=_PARSER_LIMIT,
            max_field_size=_PARSER_LIMIT,
            max_headers=_MAX_HEADERS,
            keepalive_timeout=60.0,
            lingering_time=2.0,
        )

    @property
    def places(self) -> Connections:
        """Its connections."""
        return self._places

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's signature
        """End connections as aiohttp does, then the threads. timeout: seconds for running requests."""
        await super().shutdown(timeout)
        for api in (self._public, self._admin):
            api.pool.shutdown(wait=False, cancel_futures=True)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        self._places.has_head(request.protocol)
        request_id = str(uuid.uuid4())
        path = request.raw_path.partition("?")[0]
        if self._health is not None and path == READYZ and request.method in {"GET", "HEAD"}:
            return self._health.answer()
        is_admin = path == "/admin" or path.startswith("/admin/")
        try:
            proxied = await self._proxy(request, self._admin if is_admin else self._public, request_id)
        except GatewayError as error:
            return error_response(error, request_id, admin=is_admin)
        response = web.Response(status=proxied.status, body=proxied.body)
        for name, value in proxied.headers:
            response.headers.add(name, value)
        response.headers.setdefault("x-request-id", request_id)
        if isinstance(request.protocol, Connection) and request.protocol.is_ending:
            response.force_close()
        return response

    async def _proxy(self, request: web.BaseRequest, api: RestApi, request_id: str) -> ProxyResponse:
        _check_head(request)
        # SECURITY: what crossed a network in the clear is not taken (test_plain_http_at_a_proxy_is_refused).
        if self._proxies.says_plain_http(request):
            raise GatewayError(403, "the request came in plain HTTP: use https")
        route = api.routes.match(request.raw_path.partition("?")[0])
        if route is None:
            raise GatewayError(404, "no such path")
        if request.method not in route.requires_iam:
            raise GatewayError(405, "this path has other methods", {"Allow": ", ".join(sorted(route.requires_iam))})
        # SECURITY: memory only for what can be answered, and what the route needs (test_no_body_is_read_without_a_place).
        if not api.has_slot():
            raise too_busy()
        with contextlib.ExitStack() as place:
            body = await self._read_body(request, self._limit(request.method, route), place)
            # SECURITY: the peer's address, or what a trusted proxy says (test_a_client_cannot_name_itself).
            received = GatewayRequest(
                SignedRequest(request.method, request.raw_path, self._headers(request), body),
                source_ip=self._proxies.seen(request).remote or "",
                protocol=f"HTTP/{request.version.major}.{request.version.minor}",
                request_id=request_id,
                received_at=time.time(),
                stage=self._stage,
            )
            with self._places.busy(request.protocol):
                return await self._invoke(api, received, route)

    def _headers(self, request: web.BaseRequest) -> tuple[tuple[str, str], ...]:
        """Return the headers, with the host that was signed: a trusted proxy may have put its own in its place."""
        host = self._proxies.host(request)
        others = tuple(one for one in request.headers.items() if host is None or one[0].lower() != "host")
        return others if host is None else (("Host", host), *others)

    def _limit(self, method: str, route: Route) -> int:
        if self._body_limits is None:
            return MAX_BODY_BYTES
        return self._body_limits.get((method, route.pattern), SMALL)

    async def _read_body(self, request: web.BaseRequest, limit: int, place: contextlib.ExitStack) -> bytes:
        """Return the body. place: takes the place of a large one."""
        too_large = GatewayError(413, f"the body is over {limit} bytes")
        size = request.content_length
        if (size or 0) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_timeout) as deadline:
                is_small = limit <= SMALL or (size is not None and size <= SMALL) or not request.body_exists
                arrived = None if is_small else place.enter_context(self._large.place(deadline))
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
            if arrived:
                arrived()
        except NoPlaceError:
            raise too_busy() from None
        except TimeoutError:
            raise GatewayError(408, "the body was not received in time") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise GatewayError(400, "the body was not received completely") from None
        return bytes(body)

    async def _invoke(self, api: RestApi, request: GatewayRequest, route: Route) -> ProxyResponse:
        # SECURITY: each API has its own threads and slots, so that exchanges that wait for an issuer's keys delay no
        # revocation (test_revocation_while_every_slot_waits).
        if not api.slots.acquire(blocking=False):
            raise too_busy()
        deadline = time.monotonic() + self.integration_timeout
        invocation = api.pool.submit(api.invoke, request, route, self._authenticate, deadline)
        # A request that timed out keeps its slot until its thread is free again: threads are what is scarce.
        invocation.add_done_callback(lambda _: api.slots.release())
        try:
            async with asyncio.timeout(self.integration_timeout):
                return await asyncio.wrap_future(invocation)
        except TimeoutError:
            raise GatewayError(504, "the broker did not respond in time") from None


def make_gateway(  # noqa: PLR0913  each but the apps and who signs is given by name
    public: Callable[[], Chalice] | None,
    admin: Callable[[], Chalice] | None,
    authenticate: Authenticate,
    *,
    stage: str = "api",
    workers: int = 8,
    connections: int = MOST_CONNECTIONS,
    body_limits: BodyLimits | None = None,
    proxies: TrustedProxies = NOBODY,
    health: Health | None = None,
) -> Gateway:
    """Return API Gateway for two apps: `/admin` and below is admin's, all else is public's. Needs a running event loop.

    public, admin: make an app; called once here and once in each worker thread; of None there is no route
    authenticate: returns who signed a request, given the time in seconds since 1970; called in worker threads; raises
        InvalidSignatureError, which becomes a 403
    stage: the stage's name, in events
    workers: threads per app; QUEUE_LIMIT more requests wait for one, further ones get a 503
    connections: open ones at most; a newcomer takes the place of one that waits
    body_limits: of routes that take more than SMALL; None: every route takes what API Gateway does
    proxies: those whose X-Forwarded headers are believed
    health: answers `/readyz`; None: there is no such path
    Raises ValueError if a route has an authorizer that cannot be checked here.
    """
    # SECURITY: of all connections a third at most is busy for each API, so that strangers who are busy at the public one
    # leave room for administrators (test_busy_strangers_leave_room_for_a_revocation).
    slots = min(workers + QUEUE_LIMIT, max(1, connections // 3))
    apis = (
        RestApi("public", public or _no_routes, workers, slots),
        RestApi("admin", admin or _no_routes, workers, slots),
    )
    places = Connections("administration" if public is None else "broker", connections, 2 * slots)
    return Gateway(apis, authenticate, stage, places, body_limits, proxies=proxies, health=health)


def _no_routes() -> Chalice:
    return Chalice(app_name="nothing", configure_logs=False)


def _check_head(request: web.BaseRequest) -> None:
    size = len(f"{request.method} {request.raw_path} HTTP/1.1\r\n\r\n")
    size += sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    if size > MAX_HEADER_BYTES:
        raise GatewayError(431, "the headers are larger than 10,240 bytes")
    if not request.raw_path.startswith("/"):
        raise GatewayError(400, "the request target is not a path")
