"""Calls that come whole, from viewers that read their answers slowly or not at all, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.simulator import deadline
from local.simulator.forwarding import Forwarding
from local.simulator.unsent import Unsent
from local.simulator.viewer_connection import ViewerConnection
from tests.edge_door import OK, answers, door, head, ok, sending_to, viewer
from tests.local.simulator.test_quick_calls import call, edge
from tests.parts import Parts, grant, parts_in
from tests.raw_provider import RawProvider, Seen, raw_provider

SMALL = 4_096
"""Bytes that a system is asked to buffer; it takes some more."""
BODY = b"0123456789" * 25_000
"""More than the edge has on its way to a viewer at once, by less than it holds of an answer besides."""
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


@contextlib.asynccontextmanager
async def behind(
    parts: Parts, connections: list[ViewerConnection], framing: str, late: asyncio.Event, *, stays: bool
) -> AsyncIterator[tuple[RawProvider, int, socket.socket]]:
    """A viewer whose quick call was answered whole, and which has taken only a part of that.

    late: until it is set, nothing else happens at the provider, which then says OK and closes, or answers those that have called.
    """
    seen: list[Seen] = []

    async def answer(one: Seen, writer: asyncio.StreamWriter) -> bool:
        seen.append(one)
        if len(seen) == 2:
            writer.write(head("HTTP/1.1 200 OK", *framing.split()) + BODY)
            await writer.drain()
            if stays:
                return True
        if len(seen) > 1:
            await late.wait()
        return await ok(one, writer) and len(seen) != 2

    token = parts.token()
    async with edge(parts, answer) as (provider, port), slow_viewer(port) as slow:
        async with viewer(port) as (reader, writer):
            writer.write(call(token))
            assert await answers(reader, 1) == [b"ok"]
        await asyncio.get_running_loop().sock_sendall(slow, call(token))
        await provider.until(lambda: connections[0].writing_paused, 3)
        await asyncio.sleep(0.1)  # what was sent arrives
        yield provider, port, slow


async def body_of(slow: socket.socket, ends: bytes = b"") -> bytes:
    """What arrives behind a head: so much as BODY is, or until it ends so, or the connection does."""
    found, loop, size = b"", asyncio.get_running_loop(), len(BODY)
    while not (found.endswith(ends) if ends else len(found.partition(b"\r\n\r\n")[2]) >= size):
        piece = await loop.sock_recv(slow, 65_536)
        if not piece:
            break
        found += piece
    return found.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("framing", [f"Content-Length:{len(BODY)}", ""], ids=["length", "until the end"])
def test_an_answer_that_was_there_is_sent_whole(
    parts: Parts, connections: list[ViewerConnection], framing: str
) -> None:
    """A provider that closes behind its answer breaks nothing off, though the viewer still reads."""
    ends = b"" if framing else b"\r\n0\r\n\r\n"

    async def run() -> bytes:
        late = asyncio.Event()
        async with behind(parts, connections, framing, late, stays=False) as (provider, _, slow):
            late.set()
            await provider.until(lambda: not provider.open, 3)
            await asyncio.sleep(0.1)
            return await body_of(slow, ends)

    found = asyncio.run(run())
    assert found == BODY if framing else unchunked(found) == BODY + OK


def test_a_kept_connection_is_the_next_calls(parts: Parts, connections: list[ViewerConnection]) -> None:
    """A call over a connection on which an answer has come whole gets its own, though that one's viewer still reads."""

    async def run() -> list[bytes]:
        late, token = asyncio.Event(), parts.token()
        async with (
            behind(parts, connections, f"Content-Length:{len(BODY)}", late, stays=True) as (
                provider,
                port,
                slow,
            ),
            viewer(port) as (reader, writer),
        ):
            writer.write(call(token))
            await provider.until(lambda: len(provider.seen) == 3, 3)
            assert provider.made == 1
            assert await body_of(slow) == BODY
            late.set()
            async with asyncio.timeout(5):
                return await answers(reader, 1)

    assert asyncio.run(run()) == [b"ok"]


def test_who_was_slow_leaves_the_provider_its_time(
    parts: Parts, connections: list[ViewerConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the viewer has taken what there was, the provider may be silent for as long as it otherwise may."""
    monkeypatch.setattr(deadline, "STALL_TIMEOUT", 0.5)
    monkeypatch.setattr(Forwarding, "seconds", lambda *_: None)
    more = f"Content-Length:{len(BODY) + len(OK)}"

    async def run() -> bytes:
        late = asyncio.Event()
        async with behind(parts, connections, more, late, stays=False) as (_, _port, slow):
            assert await body_of(slow) == BODY
            await asyncio.sleep(0.8)
            late.set()
            return await asyncio.get_running_loop().sock_recv(slow, 100)

    assert asyncio.run(run()) == OK


def test_a_stop_ends_the_call_of_a_slow_viewer(connections: list[ViewerConnection]) -> None:
    """When the edge stops, a call ends whose viewer takes no more of its answer."""
    unsent, seen = Unsent(), list[Seen]()

    async def answer(one: Seen, writer: asyncio.StreamWriter) -> bool:
        seen.append(one)
        if len(seen) == 1:
            return await ok(one, writer)
        writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {len(BODY)}") + BODY)
        return True

    async def run() -> None:
        async with raw_provider(answer) as provider, contextlib.AsyncExitStack() as stack:
            async with door(sending_to(provider.port), unsent=unsent) as port:
                slow = await stack.enter_async_context(slow_viewer(port))
                async with viewer(port) as (reader, writer):
                    writer.write(call("any"))
                    assert await answers(reader, 1) == [b"ok"]
                await asyncio.get_running_loop().sock_sendall(slow, call("any"))
                await provider.until(lambda: connections[0].writing_paused, 3)
                await asyncio.sleep(0.1)
                assert unsent.under_way == 1
            assert unsent.under_way == 0

    asyncio.run(run())


def unchunked(found: bytes) -> bytes:
    body = b""
    while found:
        size, _, found = found.partition(b"\r\n")
        body, found = body + found[: int(size, 16)], found[int(size, 16) + 2 :]
    return body
