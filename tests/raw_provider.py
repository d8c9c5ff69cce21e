"""A provider over raw sockets, for tests: it sees every byte, counts its connections and can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seen:
    """One call. connection: its number, from 1. headers: lower-case name -> every value. digest: SHA-256 of the body."""

    connection: int
    method: str
    target: str
    headers: dict[str, list[str]]
    size: int
    digest: str

    def header(self, name: str) -> str:
        """The value of a header that was sent once, or not at all: ""."""
        (value,) = self.headers.get(name, [""])
        return value


Answer = Callable[[Seen, asyncio.StreamWriter], Awaitable[bool]]
"""Answers a call, and says whether the connection stays."""


@dataclass(slots=True)
class RawProvider:
    """What is known of it. open: connections now; made: connections so far; seen: calls, in the order of their heads."""

    answer: Answer
    port: int = 0
    open: int = 0
    made: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Where it is, as a key's origin."""
        return f"http://localhost:{self.port}"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side has had enough."""
        self.open += 1
        self.made += 1
        number = self.made
        try:
            # A test that ends cancels what is left, which asyncio's streams would tell as a fault.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    call = await _read(number, head, reader)
                    self.seen.append(call)
                    if not await self.answer(call, writer):
                        break
                    await writer.drain()
        finally:
            self.open -= 1
            writer.close()

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until something is so; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  it may be so in another process, which sets no event here
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def raw_provider(answer: Answer) -> AsyncIterator[RawProvider]:
    """Start it, and end it."""
    provider = RawProvider(answer)
    server = await asyncio.start_server(provider.connect, "127.0.0.1", 0, backlog=1024)
    provider.port = server.sockets[0].getsockname()[1]
    async with server:
        yield provider


async def _read(number: int, head: str, reader: asyncio.StreamReader) -> Seen:
    """Read a call's body, holding none of it."""
    start, *lines = head.split("\r\n")[:-2]
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    method, target, _ = start.split(" ")
    size, digest = 0, hashlib.sha256()
    async for chunk in _body(headers, reader):
        size += len(chunk)
        digest.update(chunk)
    return Seen(number, method, target, headers, size, digest.hexdigest())


async def _body(headers: dict[str, list[str]], reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    left = int(headers.get("content-length", ["0"])[0])
    while left:
        chunk = await reader.read(min(left, 65_536))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(chunk)
        yield chunk
    if headers.get("transfer-encoding") == ["chunked"]:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
