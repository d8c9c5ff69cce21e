"""Calls that come whole, from viewers that read their answers slowly or not at all, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.simulator.viewer_connection import ViewerConnection
from tests.local.simulator.test_quick_calls import call, edge
from tests.parts import Parts, grant, parts_in

SMALL = 4_096
"""Bytes that a system is asked to buffer; it takes some more."""
START = b"HTTP/1.1 401 "
REFUSED = 4_000
"""Calls, whose refusals are more than the buffers of both systems hold."""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant())
        yield made


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[ViewerConnection]:
    """Those that viewers made, in order, each with a small buffer."""
    found: list[ViewerConnection] = []
    made = ViewerConnection.connection_made

    def note(self: ViewerConnection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        found.append(self)
        made(self, transport)

    monkeypatch.setattr(ViewerConnection, "connection_made", note)
    return found


@contextlib.asynccontextmanager
async def slow_viewer(port: int) -> AsyncIterator[socket.socket]:
    """A viewer's connection of which nothing is read ahead."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        one.settimeout(0)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
        yield one


def test_who_reads_nothing_is_served_no_more(parts: Parts, connections: list[ViewerConnection]) -> None:
    """Of a viewer that sends call after call and reads no answer, few wait; once it reads, all are answered."""

    async def run() -> int:
        async with edge(parts) as (provider, port), slow_viewer(port) as viewer:
            loop = asyncio.get_running_loop()
            sending = asyncio.create_task(loop.sock_sendall(viewer, call("no") * REFUSED))
            await provider.until(lambda: bool(connections) and connections[0].writing_paused)
            await asyncio.sleep(0.2)
            transport = connections[0].transport
            assert transport is not None
            size, answers, end = transport.get_write_buffer_size(), 0, b""
            while answers < REFUSED:
                piece = end + await loop.sock_recv(viewer, 65_536)
                answers, end = answers + piece.count(START), piece[1 - len(START) :]
            await sending
            return size

    assert asyncio.run(run()) < 128 * 1024
