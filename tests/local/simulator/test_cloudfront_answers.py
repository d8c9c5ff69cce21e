"""What comes back from a provider: its own addresses, answers before the body is sent, connections that had ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge_door import SHOWN, ask, before_raw, door, head, sending_to, talk, through, viewer
from tests.raw_provider import RawProvider, Seen, raw_provider


def test_a_providers_own_addresses_become_the_edges() -> None:
    """A redirect and a next page stay on the edge, below the key."""
    made: list[str] = []

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        lines = (f"Location: {made[0]}/a", f'link: <{made[0]}/b>; rel="next", <https://x.example/b>; rel="help"')
        writer.write(head("HTTP/1.1 302 Found", *lines, "Content-Length: 0"))
        return True

    async def run() -> list[str]:
        async with asyncio.timeout(20), raw_provider(answer) as provider:
            made.append(provider.origin)
            async with door(sending_to(provider.port), url="https://edge.example") as port:
                lines, _ = await talk(port, ask("GET /github/x"))
        return lines

    lines = asyncio.run(run())
    assert "Location: https://edge.example/github/a" in lines
    assert 'link: <https://edge.example/github/b>; rel="next", <https://x.example/b>; rel="help"' in lines


@pytest.mark.parametrize("is_whole", [True, False])
def test_every_byte_of_a_head_goes_on(is_whole: bool) -> None:  # noqa: FBT001  a parameter
    """A reason and headers that are no UTF-8 go on as they came, in an answer that is there at once and in one that is not."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 \xd3K\r\nX-Latin: caf\xe9\r\nX-Utf: \xc3\xa9\r\nContent-Length: 4\r\n\r\nab")
        if not is_whole:
            await asyncio.sleep(0.05)
        writer.write(b"cd")
        await writer.drain()

    async def run() -> bytes:
        async with before_raw(answer) as port, viewer(port) as (reader, writer):
            writer.write(ask("GET /github/x"))
            return await reader.readuntil(b"abcd")

    whole = asyncio.run(run())
    assert whole.startswith(b"HTTP/1.1 200 \xd3K\r\n")
    assert b"\r\nX-Latin: caf\xe9\r\nX-Utf: \xc3\xa9\r\n" in whole


@pytest.mark.parametrize("codings", ["gzip, chunked", "gzip", "chunked, gzip", "identity, chunked"])
def test_a_body_that_is_coded_for_the_way_is_refused(codings: str) -> None:
    """What is coded for the way but for chunks is a 502: its coding is hop by hop, so that nobody could read it behind here."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("HTTP/1.1 200 OK", f"Transfer-Encoding: {codings}") + b"2\r\n\x1f\x8b\r\n0\r\n\r\n")
        await writer.drain()

    async def run() -> list[str]:
        async with before_raw(answer) as port:
            return (await talk(port, ask("GET /github/x")))[0]

    assert asyncio.run(run())[0].startswith("HTTP/1.1 502 ")


# before the body is sent

_SIZE = 20_000_000


@contextlib.contextmanager
def _refusing_at_the_head() -> Iterator[int]:
    """Answer from the head alone and hang up, with the rest of the call unread: the kernel then resets the connection.

    In a thread, since it has to happen while the door writes. Yields the port.
    """

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    while b"\r\n\r\n" not in connection.recv(65_536, socket.MSG_PEEK):
                        pass
                    start = head("HTTP/1.1 413 Content Too Large", "Content-Length: 9", "Connection: close")
                    connection.sendall(start + b"too large")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


async def _uploaded(port: int, framing: str) -> bytes:
    """Send a large body as an SDK does, reading only once it is sent, or could not be; return the answer."""
    async with viewer(port) as (reader, writer):
        writer.write(head("POST /openai/v1/files HTTP/1.1", "Host: edge", framing))
        chunk = b"a" * 65_536
        with contextlib.suppress(ConnectionError):
            for _ in range(_SIZE // len(chunk)):
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if "chunked" in framing else chunk)
                await writer.drain()
            writer.write(b"0\r\n\r\n" if "chunked" in framing else b"a" * (_SIZE % len(chunk)))
            await writer.drain()
        start = await reader.readuntil(b"\r\n\r\n")
        return start.split(b"\r\n")[0] + await reader.readexactly(9)


@pytest.mark.parametrize("framing", [f"Content-Length: {_SIZE}", "Transfer-Encoding: chunked"])
def test_an_early_answer_reaches_the_client(framing: str) -> None:
    """An answer that a provider gives from the head alone reaches the client, though the body cannot be sent."""

    async def run() -> list[bytes]:
        with _refusing_at_the_head() as provider:
            async with asyncio.timeout(50), door(sending_to(provider)) as port:
                return [await _uploaded(port, framing) for _ in range(16)]

    assert asyncio.run(run()) == [b"HTTP/1.1 413 Content Too Largetoo large"] * 16


@pytest.mark.parametrize("framing", [f"Content-Length: {_SIZE}", "Transfer-Encoding: chunked"])
def test_no_call_goes_into_an_unfinished_body(framing: str) -> None:
    """A connection on which a body was not sent to its end is not used for another call, which would be read as the rest of it."""
    received: list[bytearray] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(mine := bytearray())
        while part := await reader.read(65_536):
            if not mine or b"GET /second" in part:  # answered from the head alone, and the connection is said to stay
                writer.write(_FIRST)
            mine += part

    async def run() -> None:
        async with before_raw(serve) as port, viewer(port) as (reader, writer):
            body = b"10000\r\n%s\r\n" % SHOWN[:65_536] if "chunked" in framing else SHOWN[:65_536]
            writer.write(head("POST /first HTTP/1.1", "Host: edge", framing) + body * 20)
            await reader.readuntil(b"ok")
            await talk(port, ask("GET /second"))

    asyncio.run(run())
    first, second = received
    assert first.startswith(b"POST /first")
    assert b"/second" not in first
    assert second.startswith(b"GET /second")


# connections that were kept

_FIRST = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.mark.parametrize("second", ["GET /second", "POST /second"])
def test_an_ended_connection_is_not_used(second: str) -> None:
    """A kept connection that the provider has closed costs no call, not even one that could not be sent again."""
    seen: list[bytes] = []
    close, closed = threading.Event(), threading.Event()

    def serve(server: socket.socket) -> None:
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65_536).split(b" ")[1])
                connection.sendall(_FIRST)
                close.wait(20)
            closed.set()

    async def run(provider: int) -> tuple[list[str], bytes]:
        send_on = sending_to(provider)

        def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  as Lambda's
            if seen:  # the second call: the connection ends while the door has no turn to notice
                close.set()
                closed.wait(20)
            return send_on(event, context)

        async with asyncio.timeout(50), door(handler) as port:
            await talk(port, ask("GET /first"))
            return await talk(port, ask(second, "Content-Length: 0"))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        lines, body = asyncio.run(run(server.getsockname()[1]))
        thread.join()
    assert (lines[0], body, seen) == ("HTTP/1.1 200 OK", b"ok", [b"/first", b"/second"])


# browsers


def test_a_providers_cors_headers_pass() -> None:
    """What a provider says to browsers is its own business, and passes as it is."""

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", "Access-Control-Allow-Origin: *", "Content-Length: 0"))
        return True

    async def serve(_provider: RawProvider, port: int) -> None:
        lines, _ = await talk(port, ask("GET /openai/v1/models", "Origin: https://page.example"))
        assert "Access-Control-Allow-Origin: *" in lines

    through(serve, answer)
