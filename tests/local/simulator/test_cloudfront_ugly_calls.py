"""Calls as few clients make them: pipelined, with trailers, upgrades or expectations, in another version of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tests.edge_door import answers, code, door, first_response, head, ok, sending_to, talk, through, viewer
from tests.raw_provider import RawProvider, Seen, raw_provider

# one connection, several calls


def test_pipelined_calls_are_answered_in_their_order() -> None:
    async def echo(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.05 if seen.target == "/0" else 0)
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 2") + seen.target.encode())
        return True

    async def serve(_provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            posts = [
                head(f"POST /{number} HTTP/1.1", "Host: edge", "Content-Length: 3") + b"abc" for number in range(4)
            ]
            writer.write(b"".join(posts))
            assert await answers(reader, 4) == [b"/0", b"/1", b"/2", b"/3"]

    assert [one.size for one in through(serve, echo).seen] == [3] * 4


@pytest.mark.parametrize("framing", ["Content-Length: {}", "Transfer-Encoding: chunked"])
def test_refused_body_is_not_the_next_call(framing: str) -> None:
    """The body of a refused call is never read as the next call."""
    # SECURITY: otherwise a caller who shares a connection (a proxy's) could make others send calls of his choice.
    hidden = head("GET /hidden HTTP/1.1", "Host: edge")
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden) if "chunked" in framing else hidden
    called: list[str] = []

    def refuse(event: dict[str, object], _context: object) -> dict[str, object]:
        called.append(event["Records"][0]["cf"]["request"]["uri"])  # type: ignore[index]  # an event has it
        return {"status": "403"}

    async def run() -> bytes:
        async with asyncio.timeout(20), door(refuse) as port, viewer(port) as (reader, writer):
            sent = head("POST /refused HTTP/1.1", "Host: edge", framing.format(len(hidden))) + body
            writer.write(sent + head("GET /next HTTP/1.1", "Host: edge", "Connection: close"))
            return await reader.read(-1)

    answer = asyncio.run(run())
    assert called in (["/refused"], ["/refused", "/next"])
    assert answer.count(b"HTTP/1.1 403 ") == len(called)


# ends of bodies


def test_trailers_of_a_call_go_no_further() -> None:
    async def serve(_provider: RawProvider, port: int) -> None:
        start = head("POST /a HTTP/1.1", "Host: edge", "Transfer-Encoding: chunked", "Trailer: X-Trailer")
        lines, body = await talk(port, start + b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\nX-Trailer: 2\r\n\r\n")
        assert (lines[0], body) == ("HTTP/1.1 200 OK", b"ok")

    (seen,) = through(serve).seen
    assert (seen.target, seen.size) == ("/a", 3)
    assert not {"x-trailer", "trailer"} & seen.headers.keys()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("is_refused", [True, False])
def test_trailers_do_not_leak_into_the_next_call(together: bool, is_refused: bool) -> None:  # noqa: FBT001  drawn by pytest
    """A trailer of one call does not become a header of the next."""
    # SECURITY: behind a proxy the next call on a connection may be another caller's, and the trailer his token.
    first = head("POST /a HTTP/1.1", "Host: edge", "Transfer-Encoding: chunked")
    first += b"3\r\nabc\r\n0\r\nX-Api-Key: of-another\r\n\r\n"
    second = head("GET /b HTTP/1.1", "Host: edge")
    asked: list[dict[str, object]] = []

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        asked.append(event["Records"][0]["cf"]["request"])
        return {"status": "403"} if is_refused else sending_to(int(provider_port[0]))(event, None)  # type: ignore[arg-type]

    provider_port: list[int] = []

    async def run() -> bytes:
        async with asyncio.timeout(20), raw_provider(ok) as provider, door(handler) as port:
            provider_port.append(provider.port)
            async with viewer(port) as (reader, writer):
                writer.write(first + (second if together else b""))
                got = await reader.readuntil(b"\r\n\r\n")
                writer.write(b"" if together else second)
                with contextlib.suppress(ConnectionError):
                    got += await reader.read(-1)
                return got

    answer = asyncio.run(run())
    assert b"\r\nConnection: close\r\n" in answer
    assert [one["uri"] for one in asked] == ["/a"]


def test_response_trailers_are_dropped() -> None:
    """A response's trailers are dropped."""

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        start = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: X-Trailer")
        writer.write(start + b"2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n")
        return True

    async def serve(provider: RawProvider, port: int) -> None:
        for _ in range(2):
            lines, body = await talk(port, head("GET / HTTP/1.1", "Host: edge", "Connection: close"))
            assert body == b"2\r\nok\r\n0\r\n\r\n"
            assert not [line for line in lines if "trailer" in line.lower()]
        assert provider.made == 1, "the connection to the provider could not be used again"

    through(serve, answer)


# upgrades, expectations, old versions


@pytest.mark.parametrize("upgrades", [("websocket",), ("WebSocket, h2c",), ("h2c", "websocket")])
def test_websocket_is_refused(upgrades: tuple[str, ...]) -> None:
    """A WebSocket handshake is refused with a reason, and does not reach the provider."""

    async def serve(_provider: RawProvider, port: int) -> None:
        lines = (*(f"Upgrade: {one}" for one in upgrades), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        answer = await talk(port, head("GET /v1/realtime HTTP/1.1", "Host: edge", "Connection: Upgrade, close", *lines))
        assert code(answer) == ("400", "upgrade_not_supported")
        assert b"WebSocket" in answer[1]

    assert through(serve).seen == []


def test_call_after_a_refused_upgrade() -> None:
    """What follows a refused upgrade is another call."""

    async def serve(_provider: RawProvider, port: int) -> None:
        upgrade = head("GET /first HTTP/1.1", "Host: edge", "Connection: Upgrade", "Upgrade: websocket")
        after = head("GET /second HTTP/1.1", "Host: edge", "Connection: close")
        async with viewer(port) as (reader, writer):
            writer.write(upgrade + after)
            answer = await reader.read(-1)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\nok")

    assert [one.target for one in through(serve).seen] == ["/second"]


def test_other_upgrades_are_ignored() -> None:
    """Another upgrade is not passed on, and the call is served without it."""

    async def serve(_provider: RawProvider, port: int) -> None:
        lines = ("Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        assert (await talk(port, head("GET / HTTP/1.1", "Host: edge", *lines)))[1] == b"ok"

    (seen,) = through(serve).seen
    assert not {"upgrade", "http2-settings", "connection"} & seen.headers.keys()


def test_body_sent_without_waiting_for_continue() -> None:
    """A viewer that does not wait for 100 Continue is served once."""

    async def serve(_provider: RawProvider, port: int) -> None:
        start = head("POST / HTTP/1.1", "Host: edge", "Connection: close", "Expect: 100-continue", "Content-Length: 3")
        lines, body = await talk(port, start + b"abc")
        assert lines[0] in ("HTTP/1.1 100 Continue", "HTTP/1.1 200 OK")
        assert body.endswith(b"ok")

    (seen,) = through(serve).seen
    assert (seen.size, "expect" in seen.headers) == (3, False)


def test_refused_head_gets_no_continue() -> None:
    """A request that is refused for its head gets no 100 Continue."""

    async def serve(_provider: RawProvider, port: int) -> None:
        lines = ("Content-Length: 3", "Expect: 100-continue", "X: " + "a" * 20_000)
        async with viewer(port) as (reader, writer):
            writer.write(head("POST /" + "a" * 1_000 + " HTTP/1.1", "Host: edge", *lines))
            start = await reader.readuntil(b"\r\n\r\n")
            assert start.startswith(b"HTTP/1.1 413 ")
            assert b"\r\nConnection: close\r\n" in start  # for whether the body still comes, nobody can tell

    assert through(serve).seen == []


def test_unknown_expectation_is_refused() -> None:
    """Two expectations are refused if one is unknown."""

    async def serve(_provider: RawProvider, port: int) -> None:
        lines = ("Connection: close", "Content-Length: 2", "Expect: 100-continue", "Expect: coffee")
        sent = head("POST / HTTP/1.1", "Host: edge", *lines)
        assert code(await first_response(port, sent)) == ("417", "expectation_failed")

    assert through(serve).seen == []


@pytest.mark.parametrize("lines", [(), ("Connection: keep-alive",)])
def test_http_1_0_stream_ends_with_the_connection(lines: tuple[str, ...]) -> None:
    """An HTTP/1.0 viewer gets a stream that ends with the connection."""

    async def stream(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
        for _ in range(2):
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return True

    async def serve(_provider: RawProvider, port: int) -> None:
        start, body = await talk(port, head("GET / HTTP/1.0", *lines))
        assert start[0] == "HTTP/1.0 200 OK"
        assert body == b"data: 1\n\ndata: 1\n\n"

    through(serve, stream)


@pytest.mark.parametrize(("line", "stays"), [("Connection: keep-alive", True), ("X: a", False)])
def test_http_1_0_keep_alive_on_request(line: str, stays: bool) -> None:  # noqa: FBT001  a table's column
    """An HTTP/1.0 connection is kept only if the viewer asks for it."""

    async def serve(_provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            for _ in range(2 if stays else 1):
                writer.write(head("POST / HTTP/1.0", line, "Content-Length: 3") + b"abc")
                start = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                assert start[0] == "HTTP/1.0 200 OK"
                assert f"Connection: {'keep-alive' if stays else 'close'}" in start
                assert await reader.readexactly(2) == b"ok"
            assert stays or await reader.read(-1) == b""

    assert [one.size for one in through(serve).seen] == [3] * (2 if stays else 1)


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3", "http/1.1", "HTTP/1.1 ", "ICAP/1.0"])
def test_another_version_is_refused_in_http_1(version: str) -> None:
    async def serve(_provider: RawProvider, port: int) -> None:
        answer = await talk(port, head(f"GET / {version}", "Host: edge", "Connection: close"))
        assert answer[0][0].split(" ")[0] in ("HTTP/1.0", "HTTP/1.1")
        assert code(answer) == ("400", "malformed_request")

    assert through(serve).seen == []


@pytest.mark.parametrize("sent", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_http_2_and_tls_get_an_http_1_error(sent: bytes) -> None:
    """A viewer that starts with HTTP/2 or TLS gets an error in HTTP/1."""

    async def serve(_provider: RawProvider, port: int) -> None:
        assert code(await talk(port, sent)) == ("400", "malformed_request")

    assert through(serve).seen == []
