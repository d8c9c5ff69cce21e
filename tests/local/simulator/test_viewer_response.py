import asyncio
import hashlib
import tracemalloc

import pytest
from aiohttp import web

from local.simulator import deadline
from tests.edge_door import CHUNK, SHOWN, ask, before, before_raw, code, head, talk, viewer


async def relayed(answer: bytes, sent: bytes = b"") -> tuple[list[str], bytes]:
    """What a viewer gets when an origin answers with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with before_raw(serve) as port:
        return await talk(port, sent or ask("GET /"))


def test_response_headers_pass_unchanged() -> None:
    """A response's headers pass in order, with repeats and nothing added."""
    lines = (
        "Set-Cookie: a=1",
        "X-A: 1",
        "set-cookie: b=2",
        "Date: today",
        "Content-Encoding: gzip",
        "Content-Length: 3",
    )
    dropped = ("Keep-Alive: 5", "Connection: close, X-Hop", "X-Hop: 1", "Trailer: X", "Proxy-Authenticate: Basic")
    answer = asyncio.run(relayed(head("HTTP/1.1 299 As It Is", *lines, *dropped) + b"\x1f\x8b\x00"))
    assert answer == (["HTTP/1.1 299 As It Is", *lines, "Connection: close"], b"\x1f\x8b\x00")


def test_an_answer_in_chunks_goes_on_in_chunks() -> None:
    answer = head("HTTP/1.1 200 OK", "Date: x", "Transfer-Encoding: chunked", "Connection: close")
    lines, body = asyncio.run(relayed(answer + b"2\r\nhi\r\n0\r\n\r\n"))
    assert lines == ["HTTP/1.1 200 OK", "Date: x", "Transfer-Encoding: chunked", "Connection: close"]
    assert body == b"2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize("other", ["Transfer-Encoding: chunked", "Content-Length: 2"])
def test_an_answer_of_two_lengths_is_not_passed_on(other: str) -> None:
    answer = head("HTTP/1.1 200 OK", "Content-Length: 1", other) + b"2\r\nhi\r\n0\r\n\r\n"
    assert code(asyncio.run(relayed(answer))) == ("502", "origin_unreachable")


@pytest.mark.parametrize(
    ("request_line", "answer", "lines"),
    [
        ("HEAD /", "200 OK", ["Content-Length: 5"]),
        ("GET /", "304 Not Modified", ["ETag: x"]),
        ("GET /", "204 No Content", []),
    ],
)
def test_answers_without_a_body_are_framed_as_such(request_line: str, answer: str, lines: list[str]) -> None:
    got = asyncio.run(relayed(head(f"HTTP/1.1 {answer}", "Date: x", *lines), ask(request_line)))
    assert got == ([f"HTTP/1.1 {answer}", "Date: x", *lines, "Connection: close"], b"")


def test_http_1_0_body_ends_with_the_connection() -> None:
    """An HTTP/1.0 viewer gets a body that ends with the connection."""
    answer = head("HTTP/1.1 200 OK", "Date: x", "Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n\r\n"
    got = asyncio.run(relayed(answer, b"GET / HTTP/1.0\r\n\r\n"))
    assert got == (["HTTP/1.0 200 OK", "Date: x", "Connection: close"], b"hi")


def test_a_redirect_is_the_viewers_business() -> None:
    answer = head("HTTP/1.1 307 Temporary Redirect", "Location: http://127.0.0.1:9/", "Content-Length: 0")
    assert "Location: http://127.0.0.1:9/" in asyncio.run(relayed(answer))[0]


def test_unrequested_upgrade_is_a_502() -> None:
    """An origin that switches protocols without a request is a 502."""
    answer = head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket")
    assert code(asyncio.run(relayed(answer))) == ("502", "origin_unreachable")


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body."""
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


def test_events_arrive_at_once() -> None:
    """Each event of a stream arrives before the next is sent."""

    async def run() -> list[bytes]:
        go = asyncio.Event()

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for n in range(3):
                await go.wait()  # set only when the viewer has what came before
                go.clear()
                await response.write(b"data: %d\n\n" % n)
            return response

        async with before(serve) as port, viewer(port) as (reader, writer):
            writer.write(ask("GET /"))
            start = await reader.readuntil(b"\r\n\r\n")  # the head comes before the first event
            assert start.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream")
            got = []
            for _ in range(3):
                go.set()
                got.append(await read_chunk(reader))
            assert await reader.read(-1) == b"0\r\n\r\n"
            return got

    assert asyncio.run(run()) == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize("when", ["before the answer", "in mid-stream", "in the upload"])
def test_a_viewer_that_hangs_up_ends_the_call_upstream(when: str) -> None:
    async def run() -> None:
        called, ended = asyncio.Event(), asyncio.Event()

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            try:
                if when == "in mid-stream":
                    response = web.StreamResponse()
                    await response.prepare(request)
                    await response.write(b"first")
                called.set()
                while when == "in the upload" and await request.content.readany():
                    pass
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

        async with before(serve) as port:
            async with viewer(port) as (reader, writer):
                length, sent = (len(SHOWN) + 1, SHOWN) if when == "in the upload" else (5, b"abcde")
                writer.write(ask("POST /", f"Content-Length: {length}") + sent)
                await called.wait()
                if when == "in mid-stream":
                    await reader.readuntil(b"first")
            await ended.wait()

    asyncio.run(run())


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_broken_origin_breaks_the_connection(framing: str, version: str) -> None:
    """An origin that dies in mid-stream breaks the viewer's connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("HTTP/1.1 200 OK", framing) + (b"5\r\nhello\r\n" if "chunked" in framing else b"hello"))
        await reader.readexactly(len(SHOWN))
        await reader.readuntil(b"die")

    async def run() -> bytes:
        async with before_raw(serve) as port, viewer(port) as (reader, writer):
            length = f"Content-Length: {len(SHOWN) + 3}"
            writer.write(head(f"POST / HTTP/{version}", "Host: edge", length) + SHOWN)
            await reader.readuntil(b"hello")
            writer.write(b"die")
            try:
                return await reader.read(-1)
            except ConnectionResetError:
                return b"reset"

    end = asyncio.run(run())
    by_end_only = version == "1.0" and "chunked" in framing
    assert end in ({b"reset"} if by_end_only else {b"reset", b"", b"\r\n"})  # never the last chunk, b"0\r\n\r\n"


def test_a_download_is_not_held_in_memory() -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(160 * len(CHUNK))})
        await response.prepare(request)
        for _ in range(160):
            await response.write(CHUNK)
        return response

    async def run() -> tuple[str, int]:
        digest = hashlib.sha256()
        async with before(serve) as port, viewer(port) as (reader, writer):
            writer.write(ask("GET /"))
            start = await reader.readuntil(b"\r\n\r\n")
            assert f"Content-Length: {160 * len(CHUNK)}".encode() in start
            tracemalloc.start()
            while chunk := await reader.read(65_536):
                digest.update(chunk)
            return digest.hexdigest(), tracemalloc.get_traced_memory()[1]

    try:
        digest, peak = asyncio.run(run())
    finally:
        tracemalloc.stop()
    assert digest == hashlib.sha256(CHUNK * 160).hexdigest()
    assert peak < 4_000_000


def test_a_connection_serves_one_call_after_another() -> None:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.raw_path)

    async def run() -> list[bytes]:
        async with before(serve) as port, viewer(port) as (reader, writer):
            got = []
            for path in (b"/1", b"/2", b"/3"):
                writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: edge\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                got.append(await reader.readexactly(2))
            return got

    assert asyncio.run(run()) == [b"/1", b"/2", b"/3"]


def test_a_viewer_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "STALL_TIMEOUT", 0.05)

    async def run() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head("HTTP/1.1 200 OK", "Content-Length: 1000000000"))
            try:
                while True:
                    writer.write(CHUNK)
                    await writer.drain()
            except ConnectionError:
                ended.set()

        async with before_raw(serve) as port, viewer(port) as (_, writer):
            writer.write(ask("GET /"))
            await ended.wait()

    asyncio.run(run())
