"""A provider that is silent for as long as it likes, on connections that the system probes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.simulator import deadline, keepalive
from tests import fast_clock
from tests.edge_door import CHUNK, RawServe, ask, door, head, sending_to, talk, viewer

SILENCE = 5.0
"""Seconds, by a fast clock: far beyond every limit that is set here."""


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "STALL_TIMEOUT", 1.0)


@asynccontextmanager
async def before(serve: RawServe, read_timeout: int | None) -> AsyncIterator[int]:
    """The port of a distribution before an origin that says what the test makes it say. The function says: one second."""

    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(close_after, "127.0.0.1", 0)
    handler = sending_to(server.sockets[0].getsockname()[1], readTimeout=1)
    async with server, door(handler, read_timeout=read_timeout) as port:
        yield port


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing for long, before the answer and in the middle of it."""
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(SILENCE)
    writer.write(head("HTTP/1.1 200 OK", "Content-Length: 4") + b"on")
    await asyncio.sleep(SILENCE)
    writer.write(b"ce")


@pytest.mark.parametrize("body", ["", "Content-Length: 2", "Transfer-Encoding: chunked"])
def test_silence_without_a_limit(body: str) -> None:
    """Without a limit a provider may be silent, whatever the edge function says, and whatever was sent to it."""
    sent = {"": b"", "Content-Length: 2": b"{}", "Transfer-Encoding: chunked": b"2\r\n{}\r\n0\r\n\r\n"}[body]

    async def run() -> tuple[list[str], bytes]:
        async with before(_silent, None) as port:
            return await talk(port, ask("POST /", *[body][: bool(body)]) + sent)

    lines, answer = fast_clock.run(run())
    assert (lines[0], answer) == ("HTTP/1.1 200 OK", b"once")


def test_silence_beyond_a_limit_is_a_504() -> None:
    """Where there is a limit, the same provider is given up."""

    async def run() -> list[str]:
        async with before(_silent, 1) as port:
            return (await talk(port, ask("POST /", "Content-Length: 2") + b"{}"))[0]

    assert fast_clock.run(run())[0].startswith("HTTP/1.1 504 ")


def test_a_viewer_that_does_not_read_is_cut_off_all_the_same() -> None:
    """Only providers may be silent: a viewer that takes nothing of its answer is given up."""

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

        async with before(serve, None) as port, viewer(port) as (_, writer):
            writer.write(ask("GET /"))
            await ended.wait()

    fast_clock.run(run())


def test_both_connections_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system probes the viewer's connection and the provider's, within a minute of silence."""
    probed: list[socket.socket] = []
    monkeypatch.setattr(keepalive, "probe", probed.append)

    async def run() -> None:
        async with before(_silent, None) as port:
            await talk(port, ask("GET /"))

    fast_clock.run(run())
    assert len(probed) == 2


def test_a_probe_comes_within_a_minute() -> None:
    """What is set is what the system then does, where it lets that be read."""
    with socket.socket() as one:
        keepalive.probe(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == keepalive.IDLE
