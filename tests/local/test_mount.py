"""How the processes of one machine share what comes in, and let it in when they stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from local import mount
from local.simulator.connections import Connection, Connections

TOGETHER = 20
PASSES = 3
"""Of a worker's loop: enough for it to see that a request waits."""
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class _Connection(Connection):
    __slots__ = ()

    def __init__(self, places: Connections, manager: web.Server) -> None:
        super().__init__(places, manager, loop=asyncio.get_running_loop(), access_log=None)


class OneDoor(web.Server):
    """A server whose connections have places, as the broker's and the edge's."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler)
        self.places = Connections("door", 20, 10)

    def __call__(self) -> web.RequestHandler:
        return _Connection(self.places, self)


async def answer(request: web.BaseRequest) -> web.Response:
    if isinstance(request.protocol, _Connection):
        request.protocol.places.has_head(request.protocol)
    return web.Response()


@contextlib.contextmanager
def waiting() -> Iterator[socket.socket]:
    """Give a listening socket at which connections wait that came together."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=mount.BACKLOG))
        listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
        for _ in range(TOGETHER):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        yield listening


def left(listening: socket.socket) -> int:
    """Take every connection that nobody has taken yet, and return how many they were."""
    found = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            found += 1
    return found


@pytest.mark.parametrize(
    ("at_once", "least", "most"), [(1, TOGETHER - 2 * PASSES - 1, TOGETHER - 1), (mount.BACKLOG, 0, 0)]
)
def test_workers_share_connections(at_once: int, least: int, most: int) -> None:
    """A worker leaves some of the connections that arrive together to the others."""

    async def take() -> int:
        async with contextlib.AsyncExitStack() as stack:
            await mount.mount(stack, web.ServerRunner(web.Server(answer)), listening, at_once)
            for _ in range(PASSES):
                await asyncio.sleep(0)
            found = left(listening)
            await asyncio.sleep(0.05)  # what was taken comes to stand, so that it can be closed
            return found

    with waiting() as listening:
        assert least <= asyncio.run(take()) <= most


def test_backlog_is_independent_of_workers() -> None:
    """However few connections a worker accepts at once, as many may wait."""

    async def mounted(listening: socket.socket) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await mount.mount(stack, web.ServerRunner(web.Server(answer)), listening, 1)
            # Nobody takes any here, for the loop does not run.
            for _ in range(TOGETHER):
                stack.enter_context(socket.create_connection(listening.getsockname(), timeout=0.5))

    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
        asyncio.run(mounted(listening))


def test_who_connected_before_the_stop_is_served() -> None:
    """A worker that stops answers every connection that was accepted and has not asked yet, and waits for no other."""

    async def ask_late() -> tuple[list[bytes], float]:
        runner = web.ServerRunner(OneDoor(answer))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
            async with contextlib.AsyncExitStack() as stack:
                await mount.mount(stack, runner, listening)
                kept = await asyncio.open_connection(*listening.getsockname())
                kept[1].write(ASKED)
                assert await kept[0].readline() == b"HTTP/1.1 200 OK\r\n"
                late = [await asyncio.open_connection(*listening.getsockname()) for _ in range(5)]
                asking = asyncio.create_task(ask(late))
                started = asyncio.get_running_loop().time()
            ended = asyncio.get_running_loop().time() - started
            kept[1].close()
            return await asking, ended

    async def ask(late: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> list[bytes]:
        await asyncio.sleep(0.5)
        answers = []
        for reader, writer in late:
            writer.write(ASKED)
            answers.append(await reader.readline())
            writer.close()
        return answers

    answers, seconds = asyncio.run(ask_late())
    assert answers == [b"HTTP/1.1 200 OK\r\n"] * 5
    assert seconds < mount.LET_IN


def test_a_stop_reads_on() -> None:
    """What a call under way still has to send when a worker stops is read; what comes behind it is not begun."""
    asked: list[bytes] = []

    async def take(request: web.BaseRequest) -> web.Response:
        if isinstance(request.protocol, _Connection):
            request.protocol.places.has_head(request.protocol)
        asked.append(await request.read())
        return web.Response()

    async def run() -> bytes:
        runner = web.ServerRunner(OneDoor(take), shutdown_timeout=10)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
            async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
                await mount.mount(stack, runner, listening)
                idle = await asyncio.open_connection(*listening.getsockname())
                idle[1].write(ASKED)
                await idle[0].readuntil(b"\r\n\r\n")
                reader, writer = await asyncio.open_connection(*listening.getsockname())
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
                await asyncio.sleep(0.05)
                stopping = asyncio.create_task(stack.aclose())
                assert await idle[0].read() == b""  # from here on, the worker closes who is idle
                writer.write(b"cd" + ASKED)
                answered = await reader.read()
                await stopping
                for one in (idle[1], writer):
                    one.close()
                return answered

    answered = asyncio.run(run())
    assert (answered.count(b"HTTP/1.1 200 OK"), asked) == (1, [b"", b"abcd"])
