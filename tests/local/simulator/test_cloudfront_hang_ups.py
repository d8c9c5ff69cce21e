"""Ends that come too early: a viewer or a provider that hangs up, or says no more, at each point of a call."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from local.simulator import origin_connector
from local.simulator.include_body import INCLUDED_BYTES
from local.simulator.origin_request_event import METHODS
from tests import fast_clock
from tests.edge_door import before_raw, code, head, ok, talk, through, viewer
from tests.raw_provider import Answer, RawProvider, Seen

START = head("POST /hung-up HTTP/1.1", "Host: edge", "Content-Length: 5")
CHUNKED = head("POST /hung-up HTTP/1.1", "Host: edge", "Transfer-Encoding: chunked")
LARGE = head("POST /hung-up HTTP/1.1", "Host: edge", f"Content-Length: {2 * INCLUDED_BYTES}") + b"k" * (
    INCLUDED_BYTES + 70_000
)
NEXT = head("GET /next HTTP/1.1", "Host: edge", "Connection: close")
PAUSE = 0.02
"""Seconds in which what was sent before a hang-up arrives by itself; if it does not, the same rule holds."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How far a viewer comes. sent: what it sends. made: connections that the door opens for it. calls: that are whole."""

    name: str
    sent: bytes
    made: int = 0
    calls: int = 0

    def reached(self, provider: RawProvider) -> bool:
        """Whether the provider knows as much of the call as it ever will while the viewer stays."""
        return (provider.made, len(provider.seen)) == (self.made, self.calls)


PHASES = [
    Phase("before a byte", b""),
    Phase("in the first line", b"POST /hung-"),
    Phase("in a header", START[:-8]),
    Phase("before the empty line", START[:-2]),
    Phase("before the body", START),
    Phase("in the body", START + b"abcd"),
    Phase("before a chunk", CHUNKED),
    Phase("in a chunk", CHUNKED + b"5\r\nab"),
    Phase("before the last chunk", CHUNKED + b"5\r\nabcde\r\n"),
    Phase("in the trailers", CHUNKED + b"5\r\nabcde\r\n0\r\nX-Trailer: a"),
    Phase("after a mebibyte of the body", LARGE, made=1),
    Phase("before the answer", START + b"abcde", made=1, calls=1),
    Phase("in the answer", START + b"abcde", made=1, calls=1),
]


def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _hang(seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Answer the next call, and of the one before a part and no more, but notice if it is broken off."""
    if seen.target == "/next":
        return await ok(seen, writer)
    if seen.header("x-answer"):
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 9") + b"part")
    return True


@pytest.mark.parametrize("hang_up", [_close, _reset])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name.replace(" ", "-"))
def test_hang_up_leaves_nothing(phase: Phase, hang_up: Callable[[asyncio.StreamWriter], None]) -> None:
    """A viewer that hangs up leaves nothing behind, and no call is made from a partial request."""

    async def serve(provider: RawProvider, port: int) -> None:
        tasks = len(asyncio.all_tasks())
        async with viewer(port) as (reader, writer):
            answered = phase.name == "in the answer"
            writer.write(phase.sent.replace(b"Host: edge", b"Host: edge\r\nX-Answer: 1") if answered else phase.sent)
            await writer.drain()
            await provider.until(lambda: phase.reached(provider))
            await (reader.readuntil(b"part") if answered else asyncio.sleep(PAUSE))
            hang_up(writer)
        await provider.until(lambda: not provider.open and len(asyncio.all_tasks()) == tasks)
        assert (await talk(port, NEXT))[1] == b"ok"

    seen = through(serve, _hang).seen
    assert [one.target for one in seen] == ["/hung-up"] * phase.calls + ["/next"]


@pytest.mark.parametrize("phase", PHASES[-2:], ids=lambda phase: phase.name.replace(" ", "-"))
def test_half_close_is_a_hang_up(phase: Phase) -> None:
    """A viewer that closes its sending side has hung up and gets no response."""

    # A half-closed connection says just this, and nobody could tell a viewer that still reads from one that is gone.
    async def serve(provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            answered = phase.name == "in the answer"
            writer.write(phase.sent.replace(b"Host: edge", b"Host: edge\r\nX-Answer: 1") if answered else phase.sent)
            await provider.until(lambda: phase.reached(provider))
            if answered:
                await reader.readuntil(b"part")
            writer.write_eof()
            assert await reader.read(-1) == b""
        await provider.until(lambda: not provider.open)

    assert len(through(serve, _hang).seen) == 1


def test_pipelined_calls_stop_at_a_hang_up() -> None:
    """No pipelined call is made after the viewer hung up."""

    async def serve(provider: RawProvider, port: int) -> None:
        async with viewer(port) as (_, writer):
            writer.write((START + b"abcde") * 5)
            await provider.until(lambda: len(provider.seen) == 1)
        await provider.until(lambda: not provider.open)
        await talk(port, NEXT)

    assert [one.target for one in through(serve, _hang).seen] == ["/hung-up", "/next"]


def test_hang_up_is_not_logged_as_an_origin_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer that disconnects is not logged as the origin's error."""
    monkeypatch.setattr(origin_connector, "_KEEPALIVE", 0.1)
    streams: list[asyncio.StreamWriter] = []

    async def part(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 9") + b"part")
        streams.append(writer)
        return True

    async def serve(provider: RawProvider, port: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as one:
            one.setblocking(False)  # noqa: FBT003  the socket module's own signature
            await loop.sock_connect(one, ("127.0.0.1", port))
            await loop.sock_sendall(one, NEXT)
            while b"part" not in await loop.sock_recv(one, 65_536):
                pass
            # More of the answer, and at once the hang-up, so that the door learns of both together.
            streams[-1].write(b"rest!")
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await provider.until(lambda: not provider.open)

    through(serve, part)
    assert caplog.text == ""


# nothing is sent twice


async def _says_nothing(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def _half_a_head(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    return False


def _half_a_body(*framing: str) -> Answer:
    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", *framing) + b"5\r\nab")
        return False

    return answer


def _answering(start: str, *lines: str) -> Answer:
    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head(f"HTTP/1.1 {start}", "Content-Length: 0", *lines))
        return True

    return answer


BROKEN = "broken off"
UNREACHABLE = "502 origin_unreachable"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_says_nothing, UNREACHABLE),
        (_half_a_head, UNREACHABLE),
        (_half_a_body("Content-Length: 9"), BROKEN),
        (_half_a_body("Transfer-Encoding: chunked"), BROKEN),
        (_answering("503 Service Unavailable", "Retry-After: 0"), "503"),
        (_answering("429 Too Many Requests", "Retry-After: 0"), "429"),
        (_answering("408 Request Timeout", "Connection: close"), "408"),
        (_answering("421 Misdirected Request"), "421"),
        (_answering("425 Too Early"), "425"),
        (_answering("307 Temporary Redirect", "Location: /again"), "307"),
        (_answering("401 Unauthorized", "WWW-Authenticate: Basic"), "401"),
    ],
)
def test_a_call_is_sent_once_whatever_comes_of_it(answer: Answer, expected: str) -> None:
    methods = sorted(METHODS - {"HEAD"})

    async def serve(_provider: RawProvider, port: int) -> None:
        for method in methods:
            body = b"" if method == "GET" else b"{}"
            start = head(f"{method} / HTTP/1.1", "Host: edge", "Connection: close", f"Content-Length: {len(body)}")
            assert await _outcome(port, start + body) == expected

    assert [one.method for one in through(serve, answer).seen] == methods


async def _outcome(port: int, sent: bytes) -> str:
    """What a viewer has of an answer: its status, with the code if it is the door's own; or that it broke off."""
    try:
        lines, body = await talk(port, sent)
    except ConnectionResetError:
        return BROKEN
    if lines[0].split(" ")[1] == "200":
        assert not body.endswith(b"0\r\n\r\n"), "half an answer was ended as a whole one"
        return BROKEN
    return " ".join(code((lines, body))) if body else lines[0].split(" ")[1]


def test_early_response_is_passed_on() -> None:
    """A response before the end of the body is passed on, and the rest of the body is dropped."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("HTTP/1.1 413 Content Too Large", "Content-Length: 2", "Connection: close") + b"no")

    async def run() -> None:
        async with before_raw(serve) as port, viewer(port) as (reader, writer):
            writer.write(LARGE)
            got.append(await reader.readuntil(b"\r\n\r\nno"))

    asyncio.run(run())
    assert got[0].startswith(b"HTTP/1.1 413 Content Too Large\r\n")


# minutes, at a hundred times their speed


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: edge\r\n"], ids=["not-a-byte", "half-a-head"])
def test_incomplete_head_times_out(first: bytes) -> None:
    """A connection without a complete head is closed after 30 seconds."""

    async def run() -> float:
        async with before_raw(_never, within=3_000) as port, viewer(port) as (reader, writer):
            begun = asyncio.get_running_loop().time()
            drips = asyncio.create_task(_drip(writer, first))
            try:
                assert await reader.read(-1) == b""
            except ConnectionResetError:
                pass  # it was dripping
            finally:
                drips.cancel()
            return asyncio.get_running_loop().time() - begun

    assert 25 < fast_clock.run(run()) < 75


async def _never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    raise AssertionError("a call was made of what is none")


async def _drip(writer: asyncio.StreamWriter, first: bytes) -> None:
    """Send the beginning of a head, and then a byte of a header every two seconds."""
    writer.write(first)
    while first:
        await asyncio.sleep(2)
        writer.write(b"x")


def test_endless_pipelining_is_bounded() -> None:
    """A viewer that pipelines endlessly is not read without limit."""
    sent = 0

    # Nothing more is read of it meanwhile, so that its end is noticed only when its answer is written or given up.
    async def serve(_provider: RawProvider, port: int) -> None:
        nonlocal sent
        one = head("GET /hung-up HTTP/1.1", "Host: edge", "X: " + "a" * 10_000)
        async with viewer(port) as (_, writer):
            while sent < 100_000_000 and await _taken(writer, one):
                sent += len(one)

    assert len(through(serve, _hang).seen) == 1
    assert sent < 16_000_000, "they were taken although none was answered"


async def _taken(writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Whether there is room for these bytes within half a second."""
    writer.write(data)
    try:
        async with asyncio.timeout(0.5):
            await writer.drain()
    except TimeoutError:
        return False
    return True
