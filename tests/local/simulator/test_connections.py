"""A door holds so many connections; a newcomer takes the place of the one that has waited longest, never of a call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from local.simulator import connections
from local.simulator.connections import Connection, Connections
from tests.edge_door import served, viewer

ASK = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"


class Door(web.Server):
    """Answers `GET /` at once, and `GET /long` when it is told to."""

    def __init__(self, most: int, most_busy: int) -> None:
        super().__init__(self._answer)
        self.places = Connections("a door", most, most_busy)
        self.end = asyncio.Event()
        self.begun = 0

    def __call__(self) -> web.RequestHandler:
        return Connection(self.places, self, loop=asyncio.get_running_loop(), access_log=None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.places.has_head(request.protocol)
        if (request.content_length or 0) > connections.MOST_HEAD:
            await request.read()
        if request.path == "/long":
            with self.places.busy(request.protocol):
                self.begun += 1
                await self.end.wait()
        return web.Response(text="ok")


def at(most: int, most_busy: int, serve: Callable[[Door, int], Awaitable[None]]) -> None:
    async def run() -> None:
        door = Door(most, most_busy)
        async with asyncio.timeout(20), served(door) as port:
            await serve(door, port)

    asyncio.run(run())


async def is_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a connection still answers."""
    writer.write(ASK)
    try:
        return (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return False


def test_the_longest_waiting_makes_room() -> None:
    """The newcomer is served, and the connection that was idle longest is closed, not the one that was there first."""

    async def serve(_door: Door, port: int) -> None:
        async with viewer(port) as first, viewer(port) as second, viewer(port) as third:
            assert [await is_open(*one) for one in (first, second, third, first)] == [True] * 4
            async with viewer(port) as fourth:
                assert await is_open(*fourth)
                assert [await is_open(*one) for one in (first, third, second)] == [True, True, False]

    at(3, 2, serve)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nX: half", b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\n"]
)
def test_strangers_keep_nobody_out(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """However many connections wait, with nothing, half a head or half a request, a newcomer is answered; one line says so."""

    async def serve(door: Door, port: int) -> None:
        strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        for _, writer in strangers:
            writer.write(sent)
        for _ in range(5):
            async with viewer(port) as one:
                assert await is_open(*one)
        assert len(door.places) <= 8
        for _, writer in strangers:
            writer.close()

    at(8, 4, serve)
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "a door: all 8 connections of a worker were in use; closed 1 that had waited longest for a request"


def test_a_call_is_never_closed_for_another() -> None:
    """Connections whose calls are under way outlive any number of newcomers."""

    async def serve(door: Door, port: int) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(ASK.replace(b"/ ", b"/long "))
            while not door.begun:  # noqa: ASYNC110  the door's own counter
                await asyncio.sleep(0.001)
            for _ in range(20):
                async with viewer(port) as one:
                    assert await is_open(*one)
            door.end.set()
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    at(2, 1, serve)


def test_a_head_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that has no complete head in time is closed, one that had a request is not."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.05)

    async def serve(_door: Door, port: int) -> None:
        async with viewer(port) as (reader, writer), viewer(port) as good:
            assert await is_open(*good)
            writer.write(b"GET / HTTP/1.1\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
            assert await is_open(*good)

    at(8, 4, serve)


HEADERS = b"".join(b"X%d: %s\r\n" % (number, b"a" * 4_000) for number in range(connections.MOST_HEAD // 4_000 + 8))
"""More than a head may hold, in lines and a number of them that are fine."""


@pytest.mark.parametrize(
    "before", [b"", ASK, b"GET /long HTTP/1.1\r\nHost: door\r\n\r\n"], ids=["first", "next", "pipelined"]
)
def test_a_head_is_bounded(before: bytes) -> None:
    """A head that is not complete within its bound ends the connection, wherever it comes."""

    async def serve(door: Door, port: int) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(before)
            if before == ASK:
                await reader.readuntil(b"ok")
            elif before:
                await until(lambda: door.begun == 1)
            with contextlib.suppress(ConnectionError):
                writer.write(b"POST / HTTP/1.1\r\nHost: door\r\n" + HEADERS)
                await writer.drain()
                answered = await reader.read()
                assert answered == b"" if b"long" in before else b" 431 " in answered
        await until(lambda: len(door.places) == 0)

    at(4, 2, serve)


def test_a_body_is_no_head() -> None:
    """What follows a head is not counted to it, in one piece with it or not, also once it is answered."""

    async def serve(door: Door, port: int) -> None:
        body = b"x" * (connections.MOST_HEAD + 1)
        for path in ("/", "/long"):
            door.end.clear()
            async with viewer(port) as one:
                for number in (1, 2):
                    one[1].write(
                        b"POST %s HTTP/1.1\r\nHost: door\r\nContent-Length: %d\r\n\r\n" % (path.encode(), 3 * len(body))
                    )
                    for _ in range(3):
                        one[1].write(body)
                        await one[1].drain()
                        await asyncio.sleep(0.01)
                    if path == "/long":
                        await until_begun(door, number)
                        door.end.set()
                    assert (await one[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
                assert await is_open(*one)

    at(4, 2, serve)


async def until_begun(door: Door, number: int) -> None:
    await until(lambda: door.begun == number)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  another task brings it about
        await asyncio.sleep(0.01)


def test_as_many_as_there_are_cannot_be_busy() -> None:
    """At least one connection must be able to make room."""
    with pytest.raises(ValueError, match="must not be"):
        Connections("a door", 4, 4)
