"""The client for all origins: it adds no headers, follows no redirects, and sends nothing twice that could do harm."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from aiohttp import (
    AddrInfoType,
    ClientConnectionError,
    ClientError,
    ClientOSError,
    ClientRequest,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from local.simulator import keepalive, origin_exchange
from local.simulator.deadline import Deadline
from local.simulator.origin_body import CHUNK
from local.simulator.origin_exchange import OriginAnswer, OriginCall
from local.simulator.origin_request_event import MAX_HEAD
from local.simulator.origin_socket import OriginSocket

MAX_HEADERS: Final = 256
CONNECT_TIMEOUT: Final = 5.0  # seconds
_KEEPALIVE: Final = 5.0  # seconds; keepaliveTimeout of the event's origin
_TIMEOUT: Final = ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110, section 9.2.1)."""


class BrokenConnectionError(ClientConnectionError):
    """The origin's connection broke before a response came."""


class MalformedAnswerError(ClientError):
    """The origin's answer is no HTTP. Its text would quote it."""


class Sending:
    """One call on its way to an origin, until the head of the answer is complete."""

    __slots__ = ("_connected", "_socket", "deadline", "has_stream", "is_repeated")

    def __init__(self, deadline: Deadline, connected: Callable[[], None], *, has_stream: bool) -> None:
        """connected: called once there is a connection. has_stream: whether its body is read as it is sent."""
        self.deadline, self._connected, self.has_stream = deadline, connected, has_stream
        self._socket: OriginSocket | None = None
        self.is_repeated = False

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
            self.deadline.is_sent()


class _Leased(NamedTuple):
    """A connection. since: when it was kept, as the event loop counts."""

    address: str
    connection: Connection
    used: OriginSocket
    since: float = 0.0


class _Connector(TCPConnector):
    """aiohttp's, which finds names and connects. Connections are kept here: its own pool takes three times as long."""

    def __init__(self, below: int | None) -> None:
        super().__init__(limit=0, socket_factory=self._make_socket)
        self._kept: dict[str, list[_Leased]] = {}  # the one that was kept last comes last, and is used first
        self._sweep: asyncio.TimerHandle | None = None
        self._below = below
        self._sockets: WeakValueDictionary[int, OriginSocket] = WeakValueDictionary()  # by descriptor
        self._place = lru_cache(maxsize=256)(_place)

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

    async def lease(self, address: str, sending: Sending) -> _Leased:
        """Connect, or take a connection that was kept and is still open, and tell the call that is on its way.

        address: as in `OriginRequest`. Raises ClientError or TimeoutError.
        """
        kept = self._kept.get(address)
        since = asyncio.get_running_loop().time() - _KEEPALIVE
        while kept:
            one = kept.pop()
            # SECURITY: what an origin said while nobody asked is nobody's answer: it waits at the socket, or was read
            # meanwhile (test_an_answer_nobody_asked_for_is_no_ones).
            if not (sending.is_repeated or one.since < since or one.used.is_over() or _has_spoken(one.connection)):
                break
            one.connection.close()
        else:
            one = await self._connected(address)
        one.used.lease()
        sending.is_connected(one.used)
        return one

    def keep(self, leased: _Leased) -> None:
        """Keep a connection on which an answer was read to its end, for a few seconds."""
        if self.closed or _has_spoken(leased.connection):
            leased.connection.close()
            return
        loop = asyncio.get_running_loop()
        self._kept.setdefault(leased.address, []).append(leased._replace(since=loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(_KEEPALIVE, self._end_idle)

    def _end_idle(self) -> None:
        loop, self._sweep = asyncio.get_running_loop(), None
        since = loop.time() - _KEEPALIVE
        kept, self._kept = self._kept, {}
        for address, ones in kept.items():
            for one in ones:
                if one.since > since:
                    self._kept.setdefault(address, []).append(one)
                else:
                    one.connection.close()
        if self._kept:
            oldest = min(ones[0].since for ones in self._kept.values())
            self._sweep = loop.call_at(oldest + _KEEPALIVE, self._end_idle)

    def end_all(self) -> None:
        """Close those that are kept."""
        if self._sweep is not None:
            self._sweep.cancel()
        for ones in self._kept.values():
            for one in ones:
                one.connection.close()
        self._kept = {}

    async def _connected(self, address: str) -> _Leased:
        try:
            connection = await self.connect(self._place(address), [], _TIMEOUT)
        except TimeoutError as error:
            raise ConnectionTimeoutError("no connection in time") from error
        used = None
        if connection.transport is not None:
            used = self._sockets.get(connection.transport.get_extra_info("socket").fileno())
        if used is None:
            connection.close()
            raise BrokenConnectionError  # it was closed as soon as it was there
        return _Leased(address, connection, used)


def _has_spoken(connection: Connection) -> bool:
    return connection.protocol is None or connection.protocol.should_close


def _place(address: str) -> ClientRequest:
    """Return what the connector asks where to connect to: never sent."""
    return ClientRequest("GET", URL(address), loop=asyncio.get_running_loop())


class OriginClient:
    """The client. `close()` it at the end."""

    def __init__(self, below: int | None = None) -> None:
        """below: connections may only have descriptors under this number; another one cannot be made. None: any.

        Call it in the running event loop.
        """
        self._connector = _Connector(below)

    async def close(self) -> None:
        """Close the connections."""
        self._connector.end_all()
        await self._connector.close()

    async def send(self, call: OriginCall, sending: Sending) -> OriginAnswer:
        """Send a request once; once more on a new connection if a kept one was over, as far as that is harmless.

        Raises ClientError, TimeoutError, OSError or ValueError.
        """
        head = origin_exchange.head(call)
        try:
            return await self._send(call, head, sending)
        except (ClientOSError, ServerDisconnectedError) as error:
            # SECURITY: a call that the provider may have is never sent twice, unless it only reads
            # (test_only_a_harmless_request_is_repeated).
            if not sending.may_repeat(call.method):
                raise BrokenConnectionError from error
        sending.is_repeated = True
        try:
            return await self._send(call, head, sending)
        except (ClientOSError, ServerDisconnectedError) as error:
            raise BrokenConnectionError from error

    async def _send(self, call: OriginCall, head: bytes, sending: Sending) -> OriginAnswer:
        leased = await self._connector.lease(call.address, sending)
        connection, writing = leased.connection, None
        try:
            protocol = connection.protocol
            if protocol is None:
                raise BrokenConnectionError
            protocol.set_response_params(
                skip_payload=call.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_bufsize=CHUNK,
                max_line_size=MAX_HEAD,
                max_field_size=MAX_HEAD,
                max_headers=MAX_HEADERS,
            )
            writing = origin_exchange.send(connection, head, call.body)
            message, content = await origin_exchange.answered(protocol)
        except HttpProcessingError as error:
            _end(connection, writing)
            raise MalformedAnswerError from error
        except BaseException:
            _end(connection, writing)
            raise
        sending.deadline.is_answered()
        return OriginAnswer(connection, message, content, writing, partial(self._connector.keep, leased))


def _end(connection: Connection, writing: asyncio.Task[None] | None) -> None:
    if writing is not None:
        writing.cancel()
    connection.close()
