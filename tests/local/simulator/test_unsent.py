"""A call of which nothing was sent to a provider takes no quota, and one that may have been sent does."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import edge
from chalicelib.edge.call import Admitted
from chalicelib.errors import StateUnavailable
from chalicelib.providers.keys import ProviderKey
from chalicelib.usage import UsageQuery, window_start
from local.simulator.unsent import Unsent
from local.sqlite.usage import SqliteUsage
from tests.edge_door import code, door, head, ok, talk, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import RawProvider, Seen, raw_provider

LIMIT = 3


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota=f"{{tokens: 1000/hour, calls: [{LIMIT}/day]}}"))
        yield made


def call(token: str, body: bytes = b"{}", length: int = 0) -> bytes:
    """A call after which the connection ends."""
    lines = ("Host: edge", "Connection: close", f"Authorization: Bearer {token}")
    return head("POST /openai/v1/chat/completions HTTP/1.1", *lines, f"Content-Length: {length or len(body)}") + body


@asynccontextmanager
async def at(parts: Parts, origin: str) -> AsyncIterator[int]:
    """The port of an edge as one machine has it, whose key has this origin."""
    parts.set_key("openai", "sk-real", origin=origin)
    unsent = Unsent()
    ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
    async with asyncio.timeout(20), door(edge.make_handler(lambda: ports), unsent=unsent) as port:
        yield port


async def admitted(parts: Parts, token: str, origin: str, asked: int) -> list[str]:
    """The statuses of so many calls."""
    async with at(parts, origin) as port:
        return [(await talk(port, call(token)))[0][0].split(" ")[1] for _ in range(asked)]


def test_an_unreachable_provider_takes_no_quota(parts: Parts) -> None:
    """Calls to a provider that cannot be reached take nothing of the limit, which then admits exactly as many as it says."""
    token = parts.token()

    async def run() -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            closed = free.getsockname()[1]
        async with at(parts, f"http://localhost:{closed}") as port:
            for _ in range(2 * LIMIT):
                assert code(await talk(port, call(token))) == ("502", "origin_unreachable")
        async with raw_provider(ok) as provider:
            return await admitted(parts, token, provider.origin, LIMIT + 1)

    assert asyncio.run(run()) == ["200"] * LIMIT + ["429"]
    assert _calls(parts) == (LIMIT, {"not_sent": 2 * LIMIT, "quota_calls": 1})


def test_a_caller_that_leaves_early_takes_no_quota(parts: Parts) -> None:
    """A caller that hangs up while the edge still connects gets its number back."""
    token, counted = parts.token(), []

    async def run() -> list[str]:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            full.setblocking(False)  # noqa: FBT003  the socket module's own signature
            waiting = [socket.socket() for _ in range(4)]
            for (
                one
            ) in waiting:  # from the second on nothing is accepted here, so that the edge waits for its connection
                one.setblocking(False)  # noqa: FBT003  the socket module's own signature
                one.connect_ex(full.getsockname())
            async with at(parts, f"http://localhost:{full.getsockname()[1]}") as port:
                for _ in range(2 * LIMIT):
                    async with viewer(port) as (_, writer):
                        writer.write(call(token))
                        await _until(lambda: _calls(parts)[0] == 1)
                        counted.append(1)
                    await _until(lambda: _calls(parts)[0] == 0)
            for one in waiting:
                one.close()
        async with raw_provider(ok) as provider:
            return await admitted(parts, token, provider.origin, LIMIT + 1)

    assert asyncio.run(run()) == ["200"] * LIMIT + ["429"]
    assert len(counted) == 2 * LIMIT


def test_a_call_that_was_sent_stays_counted(parts: Parts) -> None:
    """A caller that hangs up once a provider may have its call has used it up: a limit is never exceeded."""
    token = parts.token()

    async def never(_seen: Seen, _writer: asyncio.StreamWriter) -> bool:
        return True  # but without an answer

    async def run() -> int:
        async with raw_provider(never) as provider, at(parts, provider.origin) as port:
            for number in range(1, LIMIT + 1):
                async with viewer(port) as (_, writer):
                    writer.write(call(token))
                    await _until(functools.partial(_has_seen, provider, number))
            assert code(await talk(port, call(token)))[0] == "429"
            return len(provider.seen)

    assert asyncio.run(run()) == LIMIT


def test_what_cannot_be_given_back_stays_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Without the state a number is not given back, and one line of the log says so."""
    caplog.set_level(logging.WARNING)
    unsent = Unsent()

    def away(_reason: str) -> None:
        raise StateUnavailable

    unsent.begun("r-1")
    unsent.admitted("r-1", _admitted(away))
    unsent.ended("r-1")
    unsent.ended("r-1")
    assert [one.getMessage() for one in caplog.records] == [
        "request r-1: nothing was sent, but it stays counted: state_unavailable"
    ]


def test_a_caller_that_leaves_meanwhile_takes_no_quota() -> None:
    """A call that is admitted in a thread after its caller has left is given back there."""
    unsent, given_back = Unsent(), list[str]()
    unsent.begun("r-1")
    unsent.ended("r-1")
    unsent.admitted("r-1", _admitted(given_back.append))
    assert given_back == ["not_sent"]


def _admitted(give_back: Callable[[str], None]) -> Admitted:
    key = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "made-up")
    return Admitted(key, "sub", "grant", "jti", give_back=give_back)


def _calls(parts: Parts) -> tuple[int, dict[str, int]]:
    """The calls of today that are counted, and those that are refused, by reason."""
    query = UsageQuery("day", window_start("day", NOW))
    uses = SqliteUsage(parts.state).uses(query).uses
    return sum(one.calls for one in uses), {reason: n for one in uses for reason, n in one.refused_calls.items()}


def _has_seen(provider: RawProvider, calls: int) -> bool:
    return len(provider.seen) == calls


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  it is a row of the state
        await asyncio.sleep(0.005)
