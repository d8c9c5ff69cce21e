"""Connections to origins: made by aiohttp's connector, and kept for further calls in a pool of our own."""

from __future__ import annotations

import asyncio
import errno
from functools import lru_cache, partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import AddrInfoType, ClientRequest, ClientTimeout, ConnectionTimeoutError, TCPConnector
from aiohttp.connector import Connection
from yarl import URL

from local.simulator import keepalive
from local.simulator.origin_connection import OriginConnection
from local.simulator.origin_socket import OriginSocket
from local.simulator.sending import BrokenConnectionError, Sending

CONNECT_TIMEOUT: Final = 5.0  # seconds
_KEEPALIVE: Final = 5.0  # seconds; keepaliveTimeout of the event's origin
_TIMEOUT: Final = ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_connect=CONNECT_TIMEOUT)


class Leased:
    """A connection. since: when it was kept, as the event loop counts."""

    __slots__ = ("address", "connection", "protocol", "since", "used")

    def __init__(self, address: str, connection: Connection, protocol: OriginConnection, used: OriginSocket) -> None:
        self.address, self.connection, self.protocol, self.used = address, connection, protocol, used
        self.since = 0.0


class OriginConnector(TCPConnector):
    """aiohttp's, which finds names and connects. Connections are kept here: its own pool takes three times as long."""

    def __init__(self, below: int | None) -> None:
        super().__init__(limit=0, socket_factory=self._make_socket)
        # In place of its own kind.
        self._factory = partial(OriginConnection, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # a kind of it
        self._kept: dict[str, list[Leased]] = {}  # the one that was kept last comes last, and is used first
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

    async def lease(self, address: str, sending: Sending) -> Leased:
        """Take a connection that was kept, or connect, and tell the call that is on its way.

        address: as in `OriginRequest`. Raises ClientError or TimeoutError.
        """
        one = self.kept(address, sending)
        if one is None:
            one = await self._connected(address)
            one.used.lease()
            sending.is_connected(one.used)
        return one

    def kept(self, address: str, sending: Sending) -> Leased | None:
        """Take a connection that was kept and is still open, and tell the call that is on its way; None if there is none."""
        kept = self._kept.get(address)
        since = self._loop.time() - _KEEPALIVE
        while kept:
            one = kept.pop()
            # SECURITY: what an origin said while nobody asked is nobody's answer: it waits at the socket, or was read
            # meanwhile (test_an_answer_nobody_asked_for_is_no_ones).
            if not (sending.is_repeated or one.since < since or one.used.is_over() or one.protocol.is_spent):
                one.used.lease()
                sending.is_connected(one.used)
                return one
            one.connection.close()
        return None

    def keep(self, leased: Leased) -> None:
        """Keep a connection on which an answer was read to its end, for a few seconds."""
        if self.closed or leased.protocol.is_spent:
            leased.connection.close()
            return
        leased.since = self._loop.time()
        self._kept.setdefault(leased.address, []).append(leased)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEEPALIVE, self._end_idle)

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

    async def _connected(self, address: str) -> Leased:
        try:
            connection = await self.connect(self._place(address), [], _TIMEOUT)
        except TimeoutError as error:
            raise ConnectionTimeoutError("no connection in time") from error
        used, protocol = None, connection.protocol
        if connection.transport is not None:
            used = self._sockets.get(connection.transport.get_extra_info("socket").fileno())
        if used is None or not isinstance(protocol, OriginConnection):
            connection.close()
            raise BrokenConnectionError  # it was closed as soon as it was there
        return Leased(address, connection, protocol, used)


def _place(address: str) -> ClientRequest:
    """Return what the connector asks where to connect to: never sent."""
    return ClientRequest("GET", URL(address), loop=asyncio.get_running_loop())
