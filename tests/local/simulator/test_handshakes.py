"""TLS at a door over real sockets: who has not shaken hands yet waits like everybody else, and is closed for a newcomer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from local.configuration import TlsFiles
from local.mount import mount
from local.simulator import connections
from local.simulator.connections import Connection, Connections
from local.tls import Listener, Pair
from tests import certificates, fast_clock

ASK = b"GET / HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"
MOST = 4
"""Connections that the door holds."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door(web.Server):
    """Answers with the scheme that it sees."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.places = Connections("a door", MOST, MOST - 1)

    def __call__(self) -> web.RequestHandler:
        return Connection(self.places, self, loop=asyncio.get_running_loop(), access_log=None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.places.has_head(request.protocol)
        return web.Response(text=request.scheme)


@dataclass(frozen=True)
class Here:
    """A door, where it listens, and what trusts its certificate."""

    door: Door
    at: tuple[str, int]
    trusting: ssl.SSLContext
    listener: Listener

    async def ask(self) -> bytes:
        """Shake hands, ask once, and return what is answered."""
        reader, writer = await asyncio.open_connection(*self.at, ssl=self.trusting, server_hostname="localhost")
        writer.write(ASK)
        answer = await reader.read()
        writer.close()
        return answer

    async def silent(self, sent: bytes = b"") -> Streams:
        """Connect without TLS, and send only this."""
        reader, writer = await asyncio.open_connection(*self.at)
        writer.write(sent)
        return reader, writer

    async def until_open(self, count: int) -> None:
        """Wait until the door has so many connections."""
        while len(self.door.places) != count:  # noqa: ASYNC110  it is so once another task has run
            await asyncio.sleep(0.01)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return certificates.write(tmp_path / "tls")


@pytest.fixture(autouse=True)
def _said_nothing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever strangers send, asyncio has nothing to report."""
    caplog.set_level(logging.WARNING, logger="asyncio")
    yield
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []


@contextlib.asynccontextmanager
async def opened(files: TlsFiles) -> AsyncIterator[Here]:
    door = Door()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
        async with contextlib.AsyncExitStack() as stack:
            listener = Listener(Pair.read(files, 0))
            at = listening.getsockname()
            await mount(stack, web.ServerRunner(door, shutdown_timeout=0.05), listening, listener=listener)
            here = Here(door, at, ssl.create_default_context(cafile=files.certificate), listener)
            yield here
    await here.until_open(0)


def at(files: TlsFiles, act: Callable[[Here], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), opened(files) as here:
            await act(here)

    asyncio.run(run())


def test_who_does_not_shake_hands_makes_room(files: TlsFiles) -> None:
    """Connections that begin no handshake, or half of one, count at the door, and the oldest goes for a newcomer."""

    async def act(here: Here) -> None:
        idle = [await here.silent(sent) for sent in (b"", b"\x16\x03\x01\x02") * MOST]
        await here.until_open(MOST)
        assert (await here.ask()).endswith(b"https")
        assert await idle[0][0].read() == b""
        await here.until_open(MOST - 1)
        for _, writer in idle:
            writer.close()
        await here.until_open(0)

    at(files, act)


def test_a_handshake_has_its_time(files: TlsFiles) -> None:
    """A handshake that is not finished in the time of a first request is ended, however it drips."""

    async def run() -> float:
        async with asyncio.timeout(600), opened(files) as here:
            started = asyncio.get_running_loop().time()
            reader, writer = await here.silent(b"\x16\x03\x01\x02\x00")
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"\x01")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 2)
            writer.close()
            return asyncio.get_running_loop().time() - started

    assert connections.HEAD_TIMEOUT - 1 < fast_clock.run(run()) < connections.HEAD_TIMEOUT + 20


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", ASK, b"\x16\x03\x01\x00\x02\x01\x00"])
def test_who_leaves_early_leaves_nothing(files: TlsFiles, sent: bytes) -> None:
    """Neither a hang-up, a reset, plain HTTP nor nonsense leaves a connection or a line, and the next one is served."""

    async def act(here: Here) -> None:
        _, closed = await here.silent(sent)
        _, reset = await here.silent(sent)
        closed.close()
        reset.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.transport.abort()
        await here.until_open(0)
        assert (await here.ask()).endswith(b"https")

    at(files, act)


def test_a_request_right_behind_the_handshake_is_served(files: TlsFiles) -> None:
    """What a client sends in one packet with the end of its handshake is its request."""

    async def act(here: Here) -> None:
        reader, writer = await here.silent()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = here.trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65_536))
        client.write(ASK)
        writer.write(outgoing.read())  # the handshake's end and the request
        answered = b""
        while b"https" not in answered:
            try:
                answered += client.read(65_536)
            except ssl.SSLWantReadError:
                incoming.write(await reader.read(65_536))
        assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    at(files, act)


def test_a_renewal_breaks_off_no_handshake(files: TlsFiles, tmp_path: Path) -> None:
    """Who has begun to shake hands goes on with the certificate of then; who has only connected gets the new one."""
    others = certificates.write(tmp_path / "others")

    async def act(here: Here) -> None:
        reader, writer = await here.silent()
        _, waiting = late = await here.silent()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = here.trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(outgoing.read())
        incoming.write(await reader.read(65_536))
        here.listener.use(Pair.read(others, 0))
        client.do_handshake()
        client.write(ASK)
        writer.write(outgoing.read())
        assert (await reader.read(1)) != b""
        await waiting.start_tls(ssl.create_default_context(cafile=others.certificate), server_hostname="localhost")
        waiting.write(ASK)
        assert (await late[0].read()).endswith(b"https")
        for one in (writer, waiting):
            one.close()

    at(files, act)


def test_a_stop_lets_in_who_shakes_hands(files: TlsFiles) -> None:
    """Who has connected when a process stops, and shakes hands only then, is served."""

    async def run() -> bytes:
        async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
            here = await stack.enter_async_context(opened(files))
            reader, writer = await here.silent()
            await here.until_open(1)

            async def late() -> bytes:
                await asyncio.sleep(0.2)
                await writer.start_tls(here.trusting, server_hostname="localhost")
                writer.write(ASK)
                answer = await reader.read()
                writer.close()
                return answer

            asking = asyncio.create_task(late())
            await asyncio.sleep(0)
            await stack.aclose()
            return await asking

    assert asyncio.run(run()).endswith(b"https")
