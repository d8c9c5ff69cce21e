"""A line to a server, as long as a test wants it, whose far end goes away as that of a frozen Lambda does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Address = tuple[str, int]


@dataclass(eq=False)
class _Call:
    """A connection through the line. gone: what its far end does with everything that arrives; None while it is there."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    gone: Callable[[_Call], None] | None = None
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


def _swallow(_call: _Call) -> None:
    """Say nothing to what arrives."""


def _reset(call: _Call) -> None:
    """Answer what arrives with a reset, as a host that knows nothing of the connection."""
    near: socket.socket = call.near.get_extra_info("socket")
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    call.near.transport.abort()


class Line:
    """address: where it begins. round_trip: seconds there and back, TCP's own handshake included. opened: connections so far."""

    def __init__(self, to: Address, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None) -> None:
        self.round_trip, self.opened = 0.0, 0
        self._tls = tls
        self.address: Address = ("", 0)
        self._to, self._loop = to, loop
        self._calls: set[_Call] = set()

    def reset(self) -> None:
        """Reset every connection that there is, at once."""
        self._each(_reset)

    def forget(self) -> None:
        """Drop every connection that there is, without a word to its caller, then or ever."""
        self._each(lambda call: setattr(call, "gone", _swallow))

    def disown(self) -> None:
        """Drop every connection that there is; what still arrives on it is answered by a reset."""
        self._each(lambda call: setattr(call, "gone", _reset))

    def _each(self, do: Callable[[_Call], None]) -> None:
        async def all_of_them() -> None:
            for call in tuple(self._calls):
                do(call)

        asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result(10)

    async def open(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.address = server.sockets[0].getsockname()
        return server

    async def _connected(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.opened += 1
        answers, far = await asyncio.open_connection(*self._to)
        call = _Call(near, far)
        self._calls.add(call)
        # The kernel accepts at once, so a connection's first bytes wait for the handshake that a long line would take.
        call.pumps.append(asyncio.create_task(self._pump(call, reader, far, self.round_trip)))
        call.pumps.append(asyncio.create_task(self._pump(call, answers, near, 0.0)))
        try:
            await asyncio.wait(call.pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._calls.discard(call)
            for one in call.pumps:
                one.cancel()
            near.close()
            far.close()

    async def _pump(
        self, call: _Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handshake: float
    ) -> None:
        """Pass bytes on, each half a round trip after it came."""
        passed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        opened = self._loop.time()

        async def arrive() -> None:
            while True:
                due, found = await passed.get()
                await asyncio.sleep(due - self._loop.time())
                if not found:
                    return
                writer.write(found)

        arriving = asyncio.create_task(arrive())
        try:
            with contextlib.suppress(OSError):
                while found := await reader.read(2**16):
                    if call.gone is not None:
                        call.gone(call)
                        continue
                    half = self.round_trip / 2
                    passed.put_nowait((max(self._loop.time(), opened + handshake) + half, found))
            passed.put_nowait((self._loop.time() + self.round_trip / 2, b""))
            if call.gone is None:
                await arriving
        finally:
            arriving.cancel()


@contextlib.contextmanager
def line(to: Address, certificate: Path | None = None) -> Iterator[Line]:
    """Open a line to a server, and end it with all of its connections. certificate: with its key, if it begins with TLS."""
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    one = Line(to, loop, tls)
    server = asyncio.run_coroutine_threadsafe(one.open(), loop).result(10)

    async def close() -> None:
        server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    try:
        yield one
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
