"""TLS handshakes at a door: a connection takes its place there before it has shaken hands, as every other that waits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from local.simulator import connections
from local.simulator.connections import Connection

_ENDED: Final = 3.0
"""Seconds that handshakes have to end once they are broken off."""


class Handshakes:
    """Those of one listening socket: what asyncio calls for each connection to it.

    door: makes the connection of who has shaken hands. context: of the socket's TLS.
    """

    def __init__(self, door: Callable[[], web.RequestHandler], context: ssl.SSLContext) -> None:
        self._door, self._context = door, context
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self) -> asyncio.Protocol:
        """Return what shakes hands with one client, at whose end the door's own connection takes over."""
        connection = self._door()
        if not isinstance(connection, Connection):
            raise TypeError("a door with TLS has to count its connections")
        return _Handshake(connection, self._context, self._begin)

    @property
    def are_under_way(self) -> bool:
        """Whether there is one."""
        return bool(self._running)

    async def close(self) -> None:
        """Break off those that are under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_ENDED)

    def _begin(self, shaking: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(shaking)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class _Handshake(asyncio.Protocol):
    """One connection until its TLS stands, and its place at the door. connection: takes over from then on."""

    def __init__(
        self, connection: Connection, context: ssl.SSLContext, begin: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self._connection, self._context, self._begin = connection, context, begin

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP it is one
        """Take a place at the door."""
        transport.pause_reading()  # what the client sends is TLS's
        self.transport = transport
        # SECURITY: who has not shaken hands counts, or silent strangers could take every descriptor and keep a
        # revocation out (test_who_does_not_shake_hands_makes_room).
        self._connection.places.opened(self)
        self._begin(self._shake(transport))

    async def _shake(self, plain: asyncio.Transport) -> None:
        """Shake hands, and hand the connection over."""
        early = _Early()
        try:
            # The place's own time-out comes first, from the connection on.
            transport = await asyncio.get_running_loop().start_tls(
                plain, early, self._context, server_side=True, ssl_handshake_timeout=2 * connections.HEAD_TIMEOUT
            )
        except OSError:  # TLS's errors, time-outs and hang-ups, all of them the client's affair
            plain.abort()
            return
        finally:
            self._connection.places.lost(self)
        if transport is None or plain.is_closing():
            return
        transport.set_protocol(self._connection)
        self._connection.connection_made(transport)
        if early.received:
            self._connection.data_received(bytes(early.received))


class _Early(asyncio.Protocol):
    """What comes right behind a handshake, before the connection is handed over."""

    def __init__(self) -> None:
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        """Keep it; the loop reads no more before the handshake's task has gone on."""
        self.received += data
