"""Answers before the end of the body, and connections that were kept and are over."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

import pytest

from local.simulator.origin_socket import OriginSocket
from tests import fast_clock
from tests.edge_door import ask, before_raw, code, door, head, sending_to, talk, through
from tests.raw_provider import RawProvider, Seen

TRIES = 20
SIZE = 20_000_000
REFUSAL = head("HTTP/1.1 413 Content Too Large", "Content-Length: 2", "Connection: close") + b"no"


def _reset_after(said: bytes) -> tuple[OriginSocket, socket.socket]:
    """A socket whose peer has said this and reset the connection, and that peer's."""
    listening = socket.create_server(("127.0.0.1", 0))
    one = OriginSocket(socket.AF_INET, socket.SOCK_STREAM, 0)
    one.connect(listening.getsockname())
    peer, _ = listening.accept()
    listening.close()
    one.sendall(b"head")
    peer.sendall(said)
    one.lease()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    return one, peer


@pytest.mark.parametrize("send", [lambda one: one.send(b"body"), lambda one: one.sendmsg([b"bo", b"dy"])])
def test_what_was_said_before_a_reset_is_read(send: Callable[[OriginSocket], int]) -> None:
    """A write to a peer that has reset the connection does not fail, and what it said before is still read, then the end; no other call gets it."""
    one, _peer = _reset_after(REFUSAL)
    with one:
        assert [send(one) for _ in range(3)] == [4, 4, 4]
        assert not one.has_sent
        assert one.recv(65_536) == REFUSAL
        assert one.is_over()
        assert one.recv(65_536) == b""
        assert one.is_over()


def test_a_closed_socket_is_over() -> None:
    """A kept socket is over once its peer has closed it or said something, and not before."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, OriginSocket(socket.AF_INET, socket.SOCK_STREAM, 0) as one:
        one.connect(listening.getsockname())
        other, _ = listening.accept()
        assert not one.is_over()
        other.close()
        assert one.is_over()


# connections that were kept


@pytest.mark.parametrize(
    ("method", "calls"), [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("PUT", 1), ("POST", 1), ("DELETE", 1)]
)
def test_only_a_harmless_request_is_repeated(method: str, calls: int) -> None:
    """A call that was sent on a kept connection, and got no answer, is repeated once, and only if it reads."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if seen.target == "/second" and seen.connection == 1:
            return False  # taken, and never answered
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        return True

    lines: list[str] = []

    async def serve(_provider: RawProvider, port: int) -> None:
        await talk(port, ask("GET /first"))
        body = () if method in ("GET", "HEAD") else ("Content-Length: 0",)
        lines.extend((await talk(port, ask(f"{method} /second", *body)))[0])

    provider = through(serve, answer)
    assert [one.target for one in provider.seen] == ["/first"] + ["/second"] * calls
    assert lines[0].split(" ")[1] == ("200" if calls == 2 else "502")


def test_a_request_is_repeated_once_only() -> None:
    """A provider that never answers gets a harmless request twice, not for ever."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if seen.target == "/second":
            return False
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 0"))
        return True

    async def serve(_provider: RawProvider, port: int) -> None:
        await talk(port, ask("GET /first"))
        assert code(await talk(port, ask("GET /second"))) == ("502", "origin_unreachable")

    assert [one.target for one in through(serve, answer).seen] == ["/first", "/second", "/second"]


# a silent provider


def test_a_silent_provider_is_not_asked_again() -> None:
    """The answer for a provider that is silent tells SDKs not to repeat the call, which may still be under way."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async def run() -> tuple[list[str], bytes]:
        async with before_raw(serve, readTimeout=1) as port:
            return await talk(port, ask("POST /", "Content-Length: 0"))

    answer = fast_clock.run(run())
    assert code(answer) == ("504", "origin_timeout")
    assert "x-should-retry: false" in answer[0]


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "status"), [(1, "504"), (600, "200")])
def test_the_limit_of_silence_can_be_set(limit: int, status: str) -> None:
    """How long a provider may be silent is this machine's option, told in the event, beyond CloudFront's default too."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n{}")
            await asyncio.sleep(170)  # longer than any time-out there is without the option
            writer.write(head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok")

    async def run() -> tuple[list[str], bytes]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port_of = server.sockets[0].getsockname()[1]
        async with server, door(sending_to(port_of), read_timeout=limit) as port:
            return await talk(port, ask("POST /", "Content-Length: 2") + b"{}")

    assert fast_clock.run(run())[0][0].split(" ")[1] == status
