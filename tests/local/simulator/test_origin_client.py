import asyncio
import tracemalloc

import pytest
from aiohttp import web

from local.simulator import deadline, origin_connector
from tests.edge_door import CHUNK, SHOWN, ask, before, before_raw, code, door, head, sending_to, talk, viewer


async def raw_request(sent: bytes) -> list[str]:
    """The lines of the head that an origin gets for these bytes."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(head("HTTP/1.1 204 No Content"))

    async with before_raw(serve) as port:
        await talk(port, sent)
    return got[0].decode().split("\r\n")[:-2]


@pytest.mark.parametrize("target", ["/a%2Fb//c?x=%20&x=1&y", "/a/../b/./c;d=%7e?q=a+b%2B&&=", "//a?b?c=/d", "/%zz?%"])
def test_path_and_query_reach_the_origin_byte_for_byte(target: str) -> None:
    lines = asyncio.run(raw_request(ask(f"GET {target}")))
    assert lines[0] == f"GET {target} HTTP/1.1"


def test_no_headers_are_added() -> None:
    """The origin gets no header that neither the viewer nor CloudFront sent."""
    lines = asyncio.run(raw_request(ask("POST /", "X-Twice: a", "x-Other: b", "X-Twice: c", "Content-Length: 0")))
    assert "X-Amz-Cf-Id" in lines.pop()
    assert lines == [
        "POST / HTTP/1.1",
        "Host: localhost",
        "X-Twice: a",
        "X-Twice: c",
        "x-Other: b",
        "Content-Length: 0",
        "Via: 1.1 local.simulator.cloudfront.net (CloudFront)",
        "X-Forwarded-For: 127.0.0.1",
    ]


def test_repeated_header_keeps_its_case() -> None:
    """A header repeated in another case reaches the origin each time as it was spelled."""
    sent = ask("POST /", "X-Twice: a", "x-twice: b", "X-TWICE: c", "content-length: 0", "accept: a", "Accept: b")
    lines = asyncio.run(raw_request(sent))
    assert lines[2:8] == ["X-Twice: a", "x-twice: b", "X-TWICE: c", "content-length: 0", "accept: a", "Accept: b"]


def test_an_unreachable_origin_is_answered_502() -> None:
    async def run() -> tuple[list[str], bytes]:
        free = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        closed_port = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        async with door(sending_to(closed_port)) as port:
            return await talk(port, ask("GET /"))

    assert code(asyncio.run(run())) == ("502", "origin_unreachable")


def test_silent_origin_is_a_504() -> None:
    """A silent origin is a 504 after its read time-out."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)  # until the door gives up and closes

    async def run() -> tuple[list[str], bytes]:
        async with before_raw(serve, readTimeout=1) as port:
            return await talk(port, ask("GET /"))

    assert code(asyncio.run(run())) == ("504", "origin_timeout")


@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST"])
def test_request_is_not_retried(method: str) -> None:
    """A request is never sent twice because of a stale connection."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        heads.append(await reader.readuntil(b"\r\n\r\n"))  # the second is taken, and never answered

    async def run() -> tuple[list[str], bytes]:
        async with before_raw(serve) as port:
            await talk(port, ask("GET /first"))
            return await talk(port, ask(f"{method} /second", "Content-Length: 0"))

    assert code(asyncio.run(run())) == ("502", "origin_unreachable")
    assert [line.split(b" ")[1] for line in heads] == [b"/first", b"/second"]


def test_broken_upload_is_not_completed() -> None:
    """An upload that breaks off does not reach the origin as a complete one."""

    async def run() -> bytes:
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(len(CHUNK))
            started.set_result(None)
            ended.set_result(await reader.read(-1))

        async with before_raw(serve) as port:
            async with viewer(port) as (_, writer):
                writer.write(ask("POST /", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(SHOWN), SHOWN))
                await started
            return await ended

    assert not asyncio.run(run()).endswith(b"0\r\n\r\n")


def test_upload_has_back_pressure() -> None:
    """An upload is read only as fast as the origin accepts it."""

    async def run() -> tuple[int, int]:
        go = asyncio.Event()

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            await go.wait()
            size = 0
            while chunk := await request.content.readany():
                size += len(chunk)
            return web.Response(text=str(size))

        async with before(serve) as port, viewer(port) as (reader, writer):
            writer.write(ask("POST /", f"Content-Length: {512 * len(CHUNK)}"))
            tracemalloc.start()
            for sent in range(512):
                writer.write(CHUNK)
                if not go.is_set():
                    try:
                        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(writer.drain())), 0.2)
                    except TimeoutError:
                        assert sent < 511
                        go.set()
                await writer.drain()
            assert go.is_set(), "the door took 32 MB that nobody read"
            answer = await reader.read(-1)
            return int(answer.rpartition(b"\r\n")[2]), tracemalloc.get_traced_memory()[1]

    try:
        size, peak = asyncio.run(run())
    finally:
        tracemalloc.stop()
    assert size == 512 * len(CHUNK)
    assert peak < 6_000_000


def test_body_keeps_its_framing() -> None:
    """A body keeps its length or its chunks, and its content coding."""
    seen: list[tuple[str | None, str | None, bytes]] = []

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        headers = request.headers
        seen.append((headers.get("Content-Length"), headers.get("Transfer-Encoding"), await request.read()))
        return web.Response()

    async def run() -> None:
        async with before(serve) as port:
            await talk(port, ask("POST /", "Content-Encoding: gzip", "Content-Length: 3") + b"\x1f\x8b\x00")
            chunks = b"1\r\n\x1f\r\n2\r\n\x8b\x00\r\n0\r\n\r\n"
            await talk(port, ask("POST /", "Content-Encoding: gzip", "Transfer-Encoding: chunked") + chunks)

    asyncio.run(run())
    assert seen == [("3", None, b"\x1f\x8b\x00"), (None, "chunked", b"\x1f\x8b\x00")]


def test_an_upload_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "STALL_TIMEOUT", 0.05)

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        while await request.content.readany():
            pass
        return web.Response()

    async def run() -> bytes:
        async with before(serve) as port, viewer(port) as (reader, writer):
            writer.write(head("POST / HTTP/1.1", "Host: edge", f"Content-Length: {len(SHOWN) + 1}") + SHOWN)
            return await reader.readuntil(b"\r\n\r\n")

    assert asyncio.run(run()).startswith(b"HTTP/1.1 504 ")


def test_an_answer_nobody_asked_for_is_no_ones() -> None:
    """What an origin says between two calls is not read as the second one's answer."""

    async def run() -> bytes:
        said, writers = asyncio.Event(), []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"mine")
            writers.append(writer)
            await said.wait()
            if len(writers) == 1:
                writer.write(head("HTTP/1.1 200 OK", "Content-Length: 6") + b"stolen")
                await reader.read(-1)

        async with before_raw(serve) as port:
            await talk(port, ask("GET /first"))
            said.set()
            for _ in range(3):  # what was said is read meanwhile, which no poll of the socket sees any more
                await talk(port, ask("GET /first#"))
            return (await talk(port, ask("GET /second")))[1]

    assert asyncio.run(run()) == b"mine"


def test_a_connection_that_is_not_used_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that no call uses for some seconds serves no other, and is closed."""
    monkeypatch.setattr(origin_connector, "_KEEPALIVE", 0.0)
    opened: list[int] = []

    async def run() -> list[bytes]:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened.append(1)
            while (await reader.read(65_536)).endswith(b"\r\n\r\n"):
                writer.write(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"%4d" % len(opened))
            ended.set()

        async with before_raw(serve) as port:
            first = (await talk(port, ask("GET /")))[1]
            await ended.wait()
            return [first, (await talk(port, ask("GET /")))[1]]

    assert asyncio.run(run()) == [b"   1", b"   2"]
