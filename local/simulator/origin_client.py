"""Requests to origins: a session that adds no headers and follows no redirects; and their bodies."""

import asyncio
import errno
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

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

from local.simulator import keepalive
from local.simulator.function_result import HeaderList
from local.simulator.include_body import BUFFERED, send_continue
from local.simulator.origin_request_event import HOP_BY_HOP, MAX_HEAD, READ_TIMEOUT, connection_options, text
from local.simulator.origin_socket import OriginSocket
from local.simulator.whole_bodies import KEPT

CHUNK: Final = (
    65_536  # bytes of a body at a time; asyncio may deliver up to four chunks at once, and two may wait to be written
)
MAX_HEADERS: Final = 256
CONNECT_TIMEOUT: Final = 5.0  # seconds
STALL_TIMEOUT: Final = READ_TIMEOUT + 30.0  # seconds without a byte of a body in either direction
_KEEPALIVE: Final = 5.0  # seconds; keepaliveTimeout of the event's origin


_SAFE: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that only read (RFC 9110, section 9.2.1)."""


class BrokenConnectionError(ClientConnectionError):
    """The origin's connection broke before a response came."""


async def _retry_on_kept_connections(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Send a request once; once more on a new connection if a kept one was over, as far as that is harmless.

    By itself aiohttp 3.14 retries GET, HEAD, OPTIONS, TRACE, PUT and DELETE once after ClientOSError or
    ServerDisconnectedError, on a new connection too, and no public option turns that off. A call costs money and was counted
    once, so otherwise its caller decides: as another exception, the error is passed on and not retried.
    """
    sending = SENDING.get()
    try:
        return await send(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        # SECURITY: a call that the provider may have is never sent twice, unless it only reads
        # (test_only_a_harmless_request_is_repeated).
        if not sending.may_repeat(request.method):
            raise BrokenConnectionError from error
    sending.is_repeated = True
    try:
        return await send(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        raise BrokenConnectionError from error


class Sending:
    """One call on its way to an origin, until the head of the answer is complete."""

    __slots__ = ("_connected", "_head_timeout", "_socket", "has_stream", "is_repeated", "seconds")

    def __init__(self, head_timeout: asyncio.Timeout, seconds: float | None, connected: Callable[[], None]) -> None:
        """seconds: from the end of the request to the end of the answer's head; None: as many as it takes.

        connected: called once there is a connection.
        """
        self._head_timeout, self.seconds, self._connected = head_timeout, seconds, connected
        self._socket: OriginSocket | None = None
        self.has_stream = self.is_repeated = False

    def may_repeat(self, method: str) -> bool:
        """Whether a call whose connection broke may be sent again: it had been kept, and has done nothing at the origin.

        Whether the origin had read the call when it closed cannot be told, unless no byte of it was sent. A body that is
        streamed is gone.
        """
        if self._socket is None or not self._socket.was_kept or self.has_stream:
            return False
        return method in _SAFE or not self._socket.has_sent

    def is_connected(self, used: OriginSocket) -> None:
        """Note that there is a connection: from here on the origin may have something of the call."""
        self._socket = used
        self._connected()
        if not self.has_stream:
            self.is_sent()

    def is_sent(self) -> None:
        """Note that the request is sent. One deadline from here on, however the origin drips its head (or 1xx answers)."""
        if self.seconds is not None:
            self._head_timeout.reschedule(asyncio.get_running_loop().time() + self.seconds)


SENDING: Final[ContextVar[Sending]] = ContextVar("SENDING")
"""The call that this task sends."""


class _Connector(TCPConnector):
    def __init__(self, below: int | None) -> None:
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE, socket_factory=self._make_socket)
        self._below = below
        self._sockets: WeakValueDictionary[int, OriginSocket] = WeakValueDictionary()  # by descriptor

    def _make_socket(self, address: AddrInfoType) -> OriginSocket:
        family, kind, protocol, *_ = address
        made = OriginSocket(family, kind, protocol)
        keepalive.probe(made)
        # SECURITY: descriptors are numbered from the lowest free one; those above are kept for the broker and the
        # administration (test_providers_leave_descriptors).
        if self._below is not None and made.fileno() >= self._below:
            made.close()
            raise OSError(errno.EMFILE, "no descriptors left for providers")
        self._sockets[made.fileno()] = made
        return made

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> Connection:
        """Connect, or take a connection that was kept and is still open, and tell the call that is on its way."""
        sending = SENDING.get()
        connection, used = await self._leased(req, traces, timeout)
        while used.was_kept and (sending.is_repeated or used.is_over()):
            connection.close()
            connection, used = await self._leased(req, traces, timeout)
        sending.is_connected(used)
        return connection

    async def _leased(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> tuple[Connection, OriginSocket]:
        connection = await super().connect(req, traces, timeout)
        used = None
        if connection.transport is not None:
            used = self._sockets.get(connection.transport.get_extra_info("socket").fileno())
        if used is None:
            connection.close()
            raise BrokenConnectionError  # it was closed as soon as it was there
        used.lease()
        return connection, used


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
        extend_stall_timeout(self._stall_timeout, self._sending.seconds)
        if self._buffered:  # it was included in the event
            chunk = bytes(self._buffered[:CHUNK])
            del self._buffered[:CHUNK]
            return chunk
        if self._needs_continue:
            self._needs_continue = False
            await send_continue(self._request)
        kept = self._request.get(KEPT)
        chunk = await (kept.read() if kept else self._request.content.read(CHUNK))
        if not chunk:
            wait_for_origin(self._stall_timeout, self._sending.seconds)
            self._sending.is_sent()
            raise StopAsyncIteration
        return chunk


def extend_stall_timeout(stall_timeout: asyncio.Timeout, read: float | None = READ_TIMEOUT) -> None:
    """Restart the stall time-out, since a chunk of a body has moved; it may end up to a hundredth earlier.

    read: seconds that the origin may be silent; None: for as long as it likes. A longer silence than CloudFront allows makes
    this time-out longer as well.
    Setting a timer is expensive compared with the rest of the work for one chunk, so it is not set for each.
    """
    now, when = asyncio.get_running_loop().time(), stall_timeout.when()
    seconds = STALL_TIMEOUT + max(0.0, (read or 0.0) - READ_TIMEOUT)
    if when is None or when < now + 0.99 * seconds:
        stall_timeout.reschedule(now + seconds)


def wait_for_origin(stall_timeout: asyncio.Timeout, read: float | None) -> None:
    """Let nothing stall while the origin is waited for, if it may be silent for as long as it likes."""
    if read is None:
        stall_timeout.reschedule(None)


def request_body(
    request: web.BaseRequest, stall_timeout: asyncio.Timeout, sending: Sending
) -> AsyncIterablePayload | bytes | None:
    """Return the body to send: a small one that was received completely as bytes, any other as a stream."""
    if not request.body_exists:
        return None
    buffered = request.get(BUFFERED)
    is_whole = buffered is not None and len(buffered) <= CHUNK and request.content.at_eof()
    if buffered is not None and is_whole and hdrs.CONTENT_LENGTH in request.headers:  # else it has to be sent in chunks
        if sending.seconds is not None:
            extend_stall_timeout(stall_timeout, sending.seconds)
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
    return ClientSession(
        connector=_Connector(below),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=client_timeout(READ_TIMEOUT),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        read_bufsize=CHUNK,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        max_headers=MAX_HEADERS,
        middlewares=(_retry_on_kept_connections,),
    )


@lru_cache(maxsize=16)
def client_timeout(read: float | None) -> ClientTimeout:
    """Return the time-outs of one call. read: seconds without a byte from the origin; None: any. A stream has no total time-out."""
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
