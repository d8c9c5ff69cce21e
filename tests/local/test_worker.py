"""How the processes of one machine share what comes in."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
from collections.abc import Iterator

import pytest
from aiohttp import web

from local import worker

TOGETHER = 20
PASSES = 3
"""Of a worker's loop: enough for it to see that a request waits."""


async def answer(_request: web.BaseRequest) -> web.Response:
    return web.Response()


@contextlib.contextmanager
def waiting() -> Iterator[socket.socket]:
    """Give a listening socket at which connections wait that came together."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=worker.BACKLOG))
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
    ("at_once", "least", "most"), [(1, TOGETHER - PASSES - 1, TOGETHER - 1), (worker.BACKLOG, 0, 0)]
)
def test_workers_share_connections(at_once: int, least: int, most: int) -> None:
    """A worker leaves some of the connections that arrive together to the others."""

    async def take() -> int:
        async with contextlib.AsyncExitStack() as stack:
            await worker.mount(stack, web.ServerRunner(web.Server(answer)), listening, at_once)
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
            await worker.mount(stack, web.ServerRunner(web.Server(answer)), listening, 1)
            # Nobody takes any here, for the loop does not run.
            for _ in range(TOGETHER):
                stack.enter_context(socket.create_connection(listening.getsockname(), timeout=0.5))

    with socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        listening.setblocking(False)  # noqa: FBT003  the socket module's own signature
        asyncio.run(mounted(listening))


def test_a_worker_ends_with_its_parent_at_once() -> None:
    """A process whose parent has died ends at once, whatever it is at, with what it has open."""
    fork = multiprocessing.get_context("fork")
    lifeline, parents = fork.Pipe(duplex=False)
    begun, begin = fork.Pipe(duplex=False)

    def work() -> None:
        parents.close()
        worker.end_with_parent(lifeline)
        begin.send("begun")
        while True:  # its event loop gets no turn
            sum(range(1_000))

    process = fork.Process(target=work, daemon=True)
    process.start()
    try:
        assert begun.recv() == "begun"
        assert process.is_alive()
        parents.close()
        process.join(10)
        assert process.exitcode == 1
    finally:
        process.kill()
        process.join()
