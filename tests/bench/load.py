"""Callers in a process of their own: so many connections, each one call after another, over bare sockets."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

WAIT = 60.0
"""Seconds that one call may take."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, where, over how many connections, and how often in all."""

    port: int
    request: bytes
    connections: int
    calls: int


@dataclass(frozen=True, slots=True)
class Done:
    """What that took: each call's seconds from its first byte out to its last byte in, and all of them together.

    failed: how many were not answered with 200. size: bytes of an answer, as it came.
    """

    seconds: list[float]
    wall: float
    failed: int
    size: int

    def rate(self) -> float:
        """Return how many were answered a second."""
        return len(self.seconds) / self.wall


class Callers:
    """The process. Made by `callers`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def run(self, load: Load) -> Done:
        """Do it, and return once all is answered."""
        self._line.send(load)
        done: Done | str = self._line.recv()
        if isinstance(done, str):
            raise RuntimeError(f"the load could not be made: {done}")  # noqa: TRY004  not a wrong type: the process reports a failure
        return done


@contextlib.contextmanager
def callers() -> Iterator[Callers]:
    """Start the process, and end it."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_obey, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Callers(ours)
    finally:
        ours.close()
        process.join(5)


def _obey(line: Connection) -> None:
    with contextlib.suppress(EOFError), asyncio.Runner() as runner:
        while True:
            load = line.recv()
            try:
                line.send(runner.run(_make(load)))
            except (OSError, EOFError, TimeoutError) as fault:
                line.send(repr(fault))


async def _make(load: Load) -> Done:
    loop, turns = asyncio.get_running_loop(), iter(range(load.calls))
    opened = [
        (await loop.create_connection(lambda: _Caller(load.request, turns), "127.0.0.1", load.port))[1]
        for _ in range(load.connections)
    ]
    begun = time.perf_counter()
    for caller in opened:
        caller.call()
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*(caller.ended for caller in opened))
    wall = time.perf_counter() - begun
    for caller in opened:
        caller.close()
    seconds = [one for caller in opened for one in caller.seconds]
    return Done(seconds, wall, sum(caller.failed for caller in opened), max(caller.size for caller in opened))


class _Caller(asyncio.Protocol):
    """One connection. Looks at an answer's head and for its end only, so that it costs little beside what it measures."""

    def __init__(self, request: bytes, turns: Iterator[int]) -> None:
        self.seconds: list[float] = []
        self.failed = self.size = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._turns = request, turns
        self._come, self._length = bytearray(), -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if there was more to come."""
        if not self.ended.done():
            self.ended.set_exception(exc or EOFError("the connection was closed before the answer's end"))

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def call(self) -> None:
        """Send the next request, or end if there is none."""
        if next(self._turns, None) is None:
            self.ended.set_result(None)
            return
        self._begun = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and call again if it is the answer's end."""
        self._come += data
        if self._length < 0 and not self._read_head():
            return
        if len(self._come) < self._length or (self._length == 0 and not self._come.endswith(b"\r\n0\r\n\r\n")):
            return
        self.seconds.append(time.perf_counter() - self._begun)
        self.size = len(self._come)
        self._come.clear()
        self._length = -1
        self.call()

    def _read_head(self) -> bool:
        head, found, _ = bytes(self._come).partition(b"\r\n\r\n")
        if not found:
            return False
        self.failed += not head.startswith(b"HTTP/1.1 200 ")
        _, named, after = head.lower().partition(b"\r\ncontent-length:")
        self._length = len(head) + 4 + int(after.partition(b"\r\n")[0]) if named else 0  # 0: in chunks
        return True
