"""Calls that are long, many or large: what the data path holds meanwhile, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.simulator.long_invocations import THREADS
from tests import fast_clock
from tests.door_process import DoorProcess, door_process
from tests.edge_door import CHUNK, before_raw, code, head, talk, viewer
from tests.parts import Parts, grant, parts_in
from tests.raw_provider import RawProvider, Seen, raw_provider

pytestmark = pytest.mark.slow  # they hold a door with many or slow calls
PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads memory and descriptors from /proc")
WAIT = 150.0
"""Seconds that a test waits for what takes one on a machine that has nothing else to do."""
MEGABYTE = 1_000_000
STREAM = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota="{tokens: 1000/hour, calls: [1000000/minute]}"))
        yield made


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have enough descriptors for both ends of a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this machine lets a process have too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096 if hard == resource.RLIM_INFINITY else hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def call(token: str, *lines: str, length: int = 2) -> bytes:
    """The head of a call on a connection that stays."""
    start = "POST /openai/v1/chat/completions HTTP/1.1"
    return head(start, "Host: edge", f"Authorization: Bearer {token}", f"Content-Length: {length}", *lines)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def opened(parts: Parts, provider: RawProvider) -> str:
    """A token for calls that go to this provider."""
    parts.set_key("openai", "sk-real", origin=provider.origin)
    return parts.token()


async def nothing_is_left(door: DoorProcess, provider: RawProvider, files: int) -> None:
    """Wait until the door has no more descriptors than before, and the provider no connection."""
    await provider.until(lambda: not provider.open and door.open_files() <= files, WAIT)


@PROC
@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_thousand_streams_use_little_memory(parts: Parts) -> None:
    """A thousand concurrent streams use little memory and leave nothing behind."""
    streams, events = 1_000, 5

    async def run() -> int:
        go = asyncio.Event()

        async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
            writer.write(STREAM)
            for event in range(events):
                await writer.drain()
                await go.wait()
                writer.write(chunk(b"data: %s %d\n\n" % (seen.header("x-number").encode(), event)))
            writer.write(chunk(b""))
            return True

        async with raw_provider(answer) as provider:
            token = opened(parts, provider)
            with door_process(parts) as door:

                async def stream(number: int) -> bytes:
                    async with viewer(door.port) as (reader, writer):
                        writer.write(call(token, f"X-Number: {number}") + b"{}")
                        await reader.readuntil(b"\r\n\r\n")
                        return await reader.readuntil(b"\r\n0\r\n\r\n")

                memory, files = door.resident(), door.open_files()
                got = asyncio.gather(*(stream(number) for number in range(streams)))
                await provider.until(lambda: len(provider.seen) == streams, WAIT)
                assert provider.open == streams
                go.set()
                for number, answered in enumerate(await got):
                    assert answered.count(b"data: %d " % number) == answered.count(b"data:") == events
                held = door.resident() - memory
                await nothing_is_left(door, provider, files)
                return held

    held = asyncio.run(run())
    print(f"{held / MEGABYTE:.0f} MB were held for {streams:,} streams")  # noqa: T201  shown with pytest -s
    assert held < 80 * MEGABYTE


@PROC
@pytest.mark.slow
@pytest.mark.parametrize("way", ["up", "down"])
def test_large_bodies_are_not_buffered(parts: Parts, way: str) -> None:
    """A hundred megabytes pass completely and are not buffered."""
    pieces = 1_600
    length = pieces * len(CHUNK)
    whole = hashlib.sha256(CHUNK * pieces).hexdigest()

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if way == "up":
            writer.write(OK)
            return True
        writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {length}"))
        for _ in range(pieces):
            writer.write(CHUNK)
            await writer.drain()
        return True

    async def run() -> tuple[str, int]:
        async with raw_provider(answer) as provider:
            token = opened(parts, provider)
            with door_process(parts) as door:
                memory, files, peak = door.resident(), door.open_files(), 0
                files += 3 * THREADS  # a thread that reads a large body opens the state file, which stays open
                async with viewer(door.port) as (reader, writer):
                    writer.write(call(token, length=length if way == "up" else 2))
                    for number in range(pieces if way == "up" else 0):
                        writer.write(CHUNK)
                        await writer.drain()
                        peak = peak if number % 16 else max(peak, door.resident() - memory)
                    writer.write(b"" if way == "up" else b"{}")
                    await reader.readuntil(b"\r\n\r\n")
                    digest, left = hashlib.sha256(), 0 if way == "up" else length
                    while left:
                        data = await reader.read(65_536)
                        digest.update(data)
                        left -= len(data)
                        peak = max(peak, door.resident() - memory) if left % 16 == 0 else peak
                await nothing_is_left(door, provider, files)
                return (provider.seen[0].digest if way == "up" else digest.hexdigest()), peak

    digest, peak = asyncio.run(run())
    assert digest == whole
    print(f"{peak / MEGABYTE:.1f} MB were held for {length / MEGABYTE:.0f} MB {way}")  # noqa: T201  shown with pytest -s
    assert peak < 24 * MEGABYTE


@PROC
@pytest.mark.slow
def test_slow_readers_are_not_buffered_for(parts: Parts) -> None:
    """Little is buffered for viewers that read slowly."""
    readers, pieces = 50, 400

    async def run() -> tuple[int, int]:
        written = 0

        async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
            nonlocal written
            writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {pieces * len(CHUNK)}"))
            for _ in range(pieces):
                writer.write(CHUNK)
                await writer.drain()
                written += len(CHUNK)
            return True

        async with raw_provider(answer) as provider:
            token = opened(parts, provider)
            with door_process(parts) as door:
                memory, files = door.resident(), door.open_files()
                lines = [await asyncio.open_connection("127.0.0.1", door.port, limit=4096) for _ in range(readers)]
                for _, writer in lines:
                    writer.write(call(token) + b"{}")
                for turn in range(20):
                    for reader, _ in lines:
                        assert await reader.read(1_000 if turn else 100)
                    await asyncio.sleep(0.05)
                held = door.resident() - memory
                for _, writer in lines:
                    writer.transport.abort()
                await nothing_is_left(door, provider, files)
                return held, written

    held, written = asyncio.run(run())
    print(f"{held / MEGABYTE:.1f} MB were held for {readers} slow readers")  # noqa: T201  shown with pytest -s
    assert held < readers * 0.8 * MEGABYTE
    assert written < readers * pieces * len(CHUNK) / 2, "the provider was not held back"


@PROC
def test_mass_hang_up_leaves_nothing(parts: Parts) -> None:
    """Viewers that hang up together leave no connection and no upstream call."""
    calls = 100

    async def run() -> None:
        async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
            writer.write(STREAM)
            while True:  # until the connection breaks
                writer.write(chunk(b"data: 0\n\n"))
                await writer.drain()
                await asyncio.sleep(0.1)

        async with raw_provider(answer) as provider:
            token = opened(parts, provider)
            with door_process(parts) as door:
                files = door.open_files()
                lines = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(calls)]
                for _, writer in lines:
                    writer.write(call(token) + b"{}")
                for reader, _ in lines:
                    await reader.readuntil(b"data: 0")
                assert provider.open == calls
                for number, (_, writer) in enumerate(lines):
                    writer.transport.abort() if number % 2 else writer.close()
                await nothing_is_left(door, provider, files)

    asyncio.run(run())


@PROC
def test_dying_provider_is_not_retried(parts: Parts) -> None:
    """A provider that dies in mid-stream is not called again, and nothing is left."""
    calls = 50

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        framing = ("Transfer-Encoding: chunked", chunk(b"data: 0\n\n")) if seen.header("x-number") else ("", b"")
        writer.write(head("HTTP/1.1 200 OK", framing[0]) + framing[1])
        await writer.drain()
        writer.transport.abort()
        return False

    async def run() -> list[bytes]:
        async with raw_provider(answer) as provider:
            token = opened(parts, provider)
            with door_process(parts) as door:
                files = door.open_files()

                async def one(number: int) -> bytes:
                    async with viewer(door.port) as (reader, writer):
                        writer.write(call(token, f"X-Number: {number}") + b"{}")
                        try:
                            return await reader.read(-1)
                        except ConnectionResetError:
                            return b"reset"

                got = await asyncio.gather(*(one(number) for number in range(calls)))
                await nothing_is_left(door, provider, files)
                assert len(provider.seen) == calls
                return got

    assert not [one for one in asyncio.run(run()) if one.endswith(b"0\r\n\r\n")], (
        "half an answer was ended as a whole one"
    )


# minutes, at a hundred times their speed


@pytest.mark.slow
def test_slow_stream_passes() -> None:
    """A stream of ten minutes with pauses of a minute passes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        for number in range(11):
            writer.write(chunk(b"data: %d\n\n" % number))
            await asyncio.sleep(60)
        writer.write(chunk(b""))

    async def run() -> tuple[bytes, float]:
        begun = asyncio.get_running_loop().time()
        async with before_raw(serve, within=3000) as port, viewer(port) as (reader, writer):
            writer.write(head("GET / HTTP/1.1", "Host: edge"))
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")
        return answer, asyncio.get_running_loop().time() - begun

    answer, seconds = fast_clock.run(run())
    assert [b"data: %d\n" % number in answer for number in range(11)] == [True] * 11
    assert seconds > 600


@pytest.mark.parametrize("first", ["the head", "an event"])
def test_silent_stream_times_out(first: str) -> None:
    """A provider that is silent in mid-stream for two minutes times out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM + (chunk(b"data: 0\n\n") if first == "an event" else b""))
        await reader.read(-1)

    async def run() -> tuple[bytes, float]:
        async with before_raw(serve, within=3000) as port, viewer(port) as (reader, writer):
            writer.write(head("GET / HTTP/1.1", "Host: edge"))
            got = await reader.readuntil(b"\r\n\r\n")
            begun = asyncio.get_running_loop().time()
            try:
                got += await reader.read(-1)
            except ConnectionResetError:
                got += b"reset"
            return got, asyncio.get_running_loop().time() - begun

    got, seconds = fast_clock.run(run())
    assert not got.endswith(b"0\r\n\r\n"), "half an answer was ended as a whole one"
    assert seconds > 110


def test_slow_first_byte_times_out() -> None:
    """The first byte of a response may take up to two minutes."""

    async def run(thinks: float) -> tuple[list[str], bytes]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(thinks)
            writer.write(OK)

        async with before_raw(serve, within=3000) as port:
            return await talk(port, head("GET / HTTP/1.1", "Host: edge", "Connection: close"))

    assert fast_clock.run(run(60))[1] == b"ok"
    assert code(fast_clock.run(run(300))) == ("504", "origin_timeout")


@pytest.mark.parametrize(
    "asked",
    [
        head("GET / HTTP/1.1", "Host: edge", "Connection: close"),
        head("POST / HTTP/1.1", "Host: edge", "Connection: close", "Content-Length: 2") + b"{}",
        head("POST / HTTP/1.1", "Host: edge", "Connection: close", f"Content-Length: {17 * len(CHUNK)}") + CHUNK * 17,
    ],
    ids=["no body", "a body", "a streamed body"],
)
@pytest.mark.parametrize(
    "drip",
    [
        pytest.param(b"x", id="a header"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n", id="early hints", marks=pytest.mark.slow),
    ],
)
def test_a_dripped_head_has_one_deadline(asked: bytes, drip: bytes) -> None:
    """An answer's head has to be complete two minutes after the request, however often a part of it comes: else a 504."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taking = asyncio.create_task(reader.read(-1))
        writer.write(b"HTTP/1.1 200 OK\r\n" if drip == b"x" else b"")
        while not taking.done():
            await asyncio.sleep(5)
            writer.write(drip)

    async def run() -> tuple[tuple[list[str], bytes], float]:
        async with before_raw(serve, within=3000) as port:
            begun = asyncio.get_running_loop().time()
            return await talk(port, asked), asyncio.get_running_loop().time() - begun

    answer, seconds = fast_clock.run(run())
    assert code(answer) == ("504", "origin_timeout")
    assert 110 < seconds < 200


def test_idle_connection_is_closed() -> None:
    """An idle kept-alive connection is closed after its time-out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async def run() -> float:
        async with before_raw(serve, within=3000) as port, viewer(port) as (reader, writer):
            writer.write(head("GET / HTTP/1.1", "Host: edge"))
            await reader.readuntil(b"ok")
            begun = asyncio.get_running_loop().time()
            assert await reader.read(-1) == b""
            return asyncio.get_running_loop().time() - begun

    assert 60 < fast_clock.run(run()) < 200


def test_a_viewer_that_reads_nothing_is_given_up() -> None:
    """A viewer that takes nothing of a stream for two and a half minutes loses it, and little was held for it."""
    sent = 0

    async def run() -> float:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(b"\r\n\r\n")
            writer.write(STREAM)
            with contextlib.suppress(ConnectionError):  # the door has ended the call
                while True:
                    writer.write(chunk(CHUNK))
                    await writer.drain()
                    sent += len(CHUNK)
            ended.set()

        async with before_raw(serve, within=3000) as port, viewer(port) as (_, writer):
            writer.write(head("GET / HTTP/1.1", "Host: edge"))
            begun = asyncio.get_running_loop().time()
            await ended.wait()
            return asyncio.get_running_loop().time() - begun

    assert 140 < fast_clock.run(run()) < 1000
    assert sent < 30 * MEGABYTE
