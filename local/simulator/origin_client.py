"""Requests to origins: a session that adds no headers, follows no redirects and retries nothing; and their bodies."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Final

from aiohttp import (
    AddrInfoType,
    AsyncIterablePayload,
    ClientConnectionError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    hdrs,
    web,
)
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from local.simulator.function_result import HeaderList
from local.simulator.include_body import BUFFERED, send_continue
from local.simulator.origin_request_event import HOP_BY_HOP, MAX_HEAD, READ_TIMEOUT, connection_options, text

CHUNK: Final = (
    65_536  # bytes of a body at a time; asyncio may deliver up to four chunks at once, and two may wait to be written
)
MAX_HEADERS: Final = 256
CONNECT_TIMEOUT: Final = 5.0  # seconds
STALL_TIMEOUT: Final = READ_TIMEOUT + 30.0  # seconds without a byte of a body in either direction
_KEEPALIVE: Final = 5.0  # seconds; keepaliveTimeout of the event's origin


class BrokenConnectionError(ClientConnectionError):
    """The origin's connection broke before a response came."""


async def _no_retry(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from retrying a request.

    aiohttp 3.14 retries GET, HEAD, OPTIONS, TRACE, PUT and DELETE once after ClientOSError or ServerDisconnectedError
    (a stale kept-alive connection, or an origin that broke off), and no public option turns that off. A call costs money
    and was counted once, so the caller decides: as another exception, the error is passed on and not retried.
    """
    try:
        return await send(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise BrokenConnectionError from error


class Sending:
    """One call on its way to an origin, until the head of the answer is complete."""

    __slots__ = ("_connected", "_head_timeout", "_seconds", "has_stream")

    def __init__(self, head_timeout: asyncio.Timeout, seconds: float, connected: Callable[[], None]) -> None:
        """seconds: from the end of the request to the end of the answer's head. connected: called once there is a connection."""
        self._head_timeout, self._seconds, self._connected = head_timeout, seconds, connected
        self.has_stream = False

    def is_connected(self) -> None:
        """Note that there is a connection: from here on the origin may have something of the call."""
        self._connected()
        if not self.has_stream:
            self.is_sent()

    def is_sent(self) -> None:
        """Note that the request is sent. One deadline from here on, however the origin drips its head (or 1xx answers)."""
        self._head_timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)


SENDING: Final[ContextVar[Sending]] = ContextVar("SENDING")
"""The call that this task sends."""


class _Connector(TCPConnector):
    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> Connection:
        """Connect, or take a connection that was kept, and tell the call that is on its way."""
        connection = await super().connect(req, traces, timeout)
        if sending := SENDING.get(None):
            sending.is_connected()
        return connection


class RequestBodyStream:
    """The viewer's body as an asynchronous iterator of chunks, read only as fast as the origin takes it."""

    __slots__ = ("_buffered", "_needs_continue", "_request", "_sending", "_stall_timeout")

    def __init__(self, request: web.BaseRequest, stall_timeout: asyncio.Timeout, sending: Sending) -> None:
        self._request = request
        self._sending = sending
        self._stall_timeout = stall_timeout
        self._needs_continue = BUFFERED not in request
        self._buffered = request.get(BUFFERED, bytearray())

    def __aiter__(self) -> "RequestBodyStream":
        return self

    async def __anext__(self) -> bytes:
        extend_stall_timeout(self._stall_timeout)
        if self._buffered:  # it was included in the event
            chunk = bytes(self._buffered[:CHUNK])
            del self._buffered[:CHUNK]
            return chunk
        if self._needs_continue:
            self._needs_continue = False
            await send_continue(self._request)
        chunk = await self._request.content.read(CHUNK)
        if not chunk:
            self._sending.is_sent()
            raise StopAsyncIteration
        return chunk


def extend_stall_timeout(stall_timeout: asyncio.Timeout) -> None:
    """Restart the stall time-out, since a chunk of a body has moved; it may end up to a hundredth earlier.

    Setting a timer is expensive compared with the rest of the work for one chunk, so it is not set for each.
    """
    now, when = asyncio.get_running_loop().time(), stall_timeout.when()
    if when is None or when < now + 0.99 * STALL_TIMEOUT:
        stall_timeout.reschedule(now + STALL_TIMEOUT)


def request_body(
    request: web.BaseRequest, stall_timeout: asyncio.Timeout, sending: Sending
) -> AsyncIterablePayload | bytes | None:
    """Return the body to send: a small one that was received completely as bytes, any other as a stream."""
    if not request.body_exists:
        return None
    buffered = request.get(BUFFERED)
    is_whole = buffered is not None and len(buffered) <= CHUNK and request.content.at_eof()
    if buffered is not None and is_whole and hdrs.CONTENT_LENGTH in request.headers:  # else it has to be sent in chunks
        extend_stall_timeout(stall_timeout)
        return bytes(buffered)
    sending.has_stream = True
    return AsyncIterablePayload(RequestBodyStream(request, stall_timeout, sending))


def with_consistent_names(headers: HeaderList) -> HeaderList:
    """Return the headers with each name spelled as it was first.

    aiohttp 3.14 treats a name in another case as a new header and drops the earlier values.
    """
    first: dict[str, str] = {}
    return [(first.setdefault(name.lower(), name), value) for name, value in headers]


def make_session(below: int | None = None) -> ClientSession:
    """Return the session for all origins; call it in the running event loop. It raises ClientError or TimeoutError.

    below: connections may only have descriptors under this number; another one cannot be made. None: any.
    """

    def make_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        # SECURITY: descriptors are numbered from the lowest free one; those above are kept for the broker and the
        # administration (test_providers_leave_descriptors).
        if below is not None and made.fileno() >= below:
            made.close()
            raise OSError(errno.EMFILE, "no descriptors left for providers")
        return made

    return ClientSession(
        connector=_Connector(limit=0, keepalive_timeout=_KEEPALIVE, socket_factory=make_socket),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=client_timeout(READ_TIMEOUT),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        read_bufsize=CHUNK,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=MAX_HEADERS,
        middlewares=(_no_retry,),
    )


@lru_cache(maxsize=16)
def client_timeout(read: float) -> ClientTimeout:
    """Return the time-outs of one call. read: seconds without a byte from the origin. A stream has no total time-out."""
    return ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=read)


def response_headers(upstream: ClientResponse) -> HeaderList:
    """Return the origin's headers without hop-by-hop ones, repeats and order kept.

    A `Content-Length` is correct: aiohttp's parser rejects one beside `Transfer-Encoding`, or a second one.
    """
    received = upstream.headers
    dropped = HOP_BY_HOP
    if hdrs.CONNECTION in received:
        dropped |= connection_options(received.getall(hdrs.CONNECTION))
    pairs = ((raw_name.decode("latin-1"), raw_value) for raw_name, raw_value in upstream.raw_headers)
    return [(name, text(raw_value)) for name, raw_value in pairs if name.lower() not in dropped]
