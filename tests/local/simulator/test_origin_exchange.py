"""One request on a connection to an origin, and its answer."""

import asyncio

import pytest

from local.simulator import origin_exchange
from local.simulator.origin_exchange import OriginCall
from tests.edge_door import ask, before_raw, head, talk, viewer

WAIT = 10


@pytest.mark.parametrize(
    ("method", "headers", "body", "framing"),
    [
        ("GET", [], b"", []),
        ("POST", [], b"", ["Content-Length: 0"]),
        ("DELETE", [], b"", ["Content-Length: 0"]),
        ("POST", [("content-length", "3")], b"", ["content-length: 3"]),
        ("POST", [("content-length", "3")], None, ["content-length: 3"]),
        ("POST", [], None, ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_body_is_framed_once(
    method: str, headers: list[tuple[str, str]], body: bytes | None, framing: list[str]
) -> None:
    """A request says once how long its body is, or that it comes in chunks; one without a body says so where it must."""

    async def nothing():  # type: ignore[no-untyped-def]  # noqa: ANN202  never called
        yield b""

    call = OriginCall(method, "http://a:80", "/", [*headers, ("Host", "a")], nothing if body is None else body)
    lines = origin_exchange.head(call).decode().split("\r\n")
    assert lines == [f"{method} / HTTP/1.1", "Host: a", *framing, "", ""]


async def _read_to(reader: asyncio.StreamReader, end: bytes) -> None:
    """Read up to this, however much comes before it."""
    got = b""
    while not got.endswith(end):
        got = got[-16:] + await reader.read(65_536)


def test_an_answer_may_begin_before_the_body_ends() -> None:
    """An origin that answers while it still gets the request gets all of it, and its answer goes on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_to(reader, b"one\r\n")
        writer.write(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n")
        await _read_to(reader, b"\r\n0\r\n\r\n")
        writer.write(b"4\r\nover\r\n0\r\n\r\n")

    async def run() -> bytes:
        async with before_raw(serve, within=WAIT) as port, viewer(port) as (reader, writer):
            # More than the function is shown, so that the rest is sent on as it comes.
            writer.write(
                ask("POST /", "Transfer-Encoding: chunked") + b"200000\r\n" + b"x" * 0x200000 + b"\r\n3\r\none\r\n"
            )
            got = await reader.readuntil(b"ok\r\n")
            writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
            return got + await reader.read(-1)

    assert asyncio.run(run()).endswith(b"2\r\nok\r\n4\r\nover\r\n0\r\n\r\n")


def test_an_answer_before_the_end_of_the_body_ends_the_connection() -> None:
    """No call is sent on a connection on which the request before was not sent whole."""
    heads: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(id(writer))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")
        await reader.read(-1)

    async def run() -> tuple[list[str], bytes]:
        async with before_raw(serve, within=WAIT) as port:
            async with viewer(port) as (reader, writer):
                writer.write(head("POST / HTTP/1.1", "Host: edge", f"Content-Length: {0x400000}") + b"x" * 0x200000)
                await reader.readuntil(b"\r\n\r\nok")
            return await talk(port, ask("GET /"))

    assert asyncio.run(run())[1] == b"ok"
    assert len(heads) == 2
