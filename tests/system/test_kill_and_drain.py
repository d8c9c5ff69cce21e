"""A server that is killed or stopped in the middle of calls of every kind: what callers see, and what is counted."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.own_provider import OwnProvider
from tests.system.under_way import Here, UnderWay, served

pytestmark = pytest.mark.slow  # each starts all processes of one machine
KINDS = ("json", "stream", "upload", "web socket")
CUT, WHOLE = dict.fromkeys(KINDS, "cut"), dict.fromkeys(KINDS, "whole")
SUB = "ci:build-1"
SOON = 5.0
"""Seconds within which callers learn that their server is gone."""


async def _in_the_middle(here: Here) -> tuple[UnderWay, str]:
    token = await here.token(SUB)
    calls = UnderWay(here, token)
    await calls.begun()
    return calls, token


async def _all_cut(here: Here, calls: UnderWay) -> None:
    """Callers see at once that theirs is not the whole answer, and at the provider nothing goes on."""
    await here.until(lambda: not any(here.provider.open.values()))
    calls.go_on.set()
    async with asyncio.timeout(SOON):
        assert await calls.seen() == CUT


async def _audited(here: Here) -> int:
    """Return how many tokens the audit has."""
    path = "/admin/audit?kind=token.issued"
    async with here.session.get(
        here.server.administration + path, headers=here.server.signed("GET", path, None)
    ) as answer:
        return len((await answer.json())["items"])


def test_a_killed_worker(tmp_path: Path) -> None:
    """Its calls break off, each counted once and none made again; another worker serves the same token."""

    async def run() -> None:
        async with served(tmp_path, OwnProvider()) as here:
            calls, token = await _in_the_middle(here)
            [worker] = here.workers()
            os.kill(worker, signal.SIGKILL)
            await _all_cut(here, calls)
            await here.until(lambda: "worker 1 serves again" in (tmp_path / "log").read_text())
            assert await here.calls(SUB) == len(KINDS)
            assert await here.ask(token) == 200
            assert await here.calls(SUB) == len(KINDS) + 1
            assert sum(here.provider.seen.values()) == len(KINDS) + 1
            assert await _audited(here) == 1

    asyncio.run(run())


def test_a_killed_server(tmp_path: Path) -> None:
    """All calls break off with the parent; the next start knows token, counters and audit."""

    async def run() -> None:
        async with served(tmp_path, OwnProvider()) as here:
            calls, token = await _in_the_middle(here)
            here.process.kill()
            await _all_cut(here, calls)
        async with served(tmp_path, OwnProvider()) as here:
            assert await here.calls(SUB) == len(KINDS)
            assert await _audited(here) == 1
            # The door has another port, and so the token another issuer: nobody else's token opens this one.
            assert await here.ask(token) == 401
            assert await here.ask(await here.token(SUB)) == 200
            assert await here.calls(SUB) == len(KINDS) + 1
            assert await _audited(here) == 2

    asyncio.run(run())


def test_a_stopped_server_finishes_all(tmp_path: Path) -> None:
    """At SIGTERM every call goes on to its end, who comes then is told at once, and it ends with 0."""

    async def run() -> None:
        async with served(tmp_path, OwnProvider()) as here:
            calls, _ = await _in_the_middle(here)
            late, (idle, kept) = await here.token("ci:late"), await _idle(here)
            here.process.send_signal(signal.SIGTERM)
            await _refused(here, late)
            assert await idle.read() == b""  # from here on, the worker closes who is idle, and reads on of the others
            here.provider.go.set()
            calls.go_on.set()
            assert await calls.seen() == WHOLE
            kept.close()
            assert await asyncio.to_thread(here.process.wait, 20) == 0
        async with served(tmp_path, OwnProvider()) as here:
            assert await here.calls(SUB) == len(KINDS)
        assert "Traceback" not in (tmp_path / "log").read_text()

    asyncio.run(run())


async def _idle(here: Here) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that has asked once, and is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(here.server.edge).port)
    writer.write(b"GET /openai/v1/models HTTP/1.1\r\nHost: edge\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return reader, writer


async def _refused(here: Here, token: str) -> None:
    """A connection that comes while the server stops is refused, rather than kept waiting for nothing."""
    async with asyncio.timeout(SOON):
        while True:
            try:
                await here.ask(token)
            except aiohttp.ClientConnectorError:
                return
            except aiohttp.ClientError:
                pass


def test_what_does_not_end_is_cut(tmp_path: Path) -> None:
    """Calls that take longer than the drain are cut at its end, stay counted, and the server ends with 0."""

    async def run() -> None:
        async with served(tmp_path, OwnProvider(), drain=1) as here:
            calls, _ = await _in_the_middle(here)
            here.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(here.process.wait, 20) == 0
            await _all_cut(here, calls)
        async with served(tmp_path, OwnProvider()) as here:
            assert await here.calls(SUB) == len(KINDS)
        assert "Traceback" not in (tmp_path / "log").read_text()

    asyncio.run(run())
