"""Calls under way end when what they stand on is taken away: an answer in the middle, and a wait for one with the reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import edge
from chalicelib.edge.running import RunningState, Seen
from chalicelib.errors import StateUnavailable
from chalicelib.revocation import RevocationTarget
from local.simulator.running_calls import RunningCalls
from local.simulator.unsent import Unsent
from local.sqlite.running_state import SqliteRunningState
from tests.contracts.samples import jti_of
from tests.edge_door import code, door, head, viewer
from tests.parts import CI, NOW, SUB, Parts, grant, parts_in
from tests.raw_provider import RawProvider, raw_provider
from tests.raw_provider import Seen as Call

STREAM = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
EVENT = b"8\r\ndata: 1\n\r\n"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota="{tokens: 1000/hour, calls: [1000/minute]}"))
        yield made


class Door:
    """An edge whose calls under way are watched, before a provider that streams until it is broken off."""

    def __init__(self, port: int, provider: RawProvider, log: list[str], calls: RunningCalls) -> None:
        self.port, self.provider, self.log, self.calls = port, provider, log, calls

    @asynccontextmanager
    async def stream(self, token: str, version: str = "1.1") -> AsyncIterator[asyncio.StreamReader]:
        """A call whose answer has begun."""
        async with self.call(token, version) as reader:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"data: 1\n")
            yield reader

    @asynccontextmanager
    async def call(self, token: str, version: str = "1.1", *lines: str) -> AsyncIterator[asyncio.StreamReader]:
        """A call that is sent."""
        async with viewer(self.port) as (reader, writer):
            start = f"POST /openai/v1/chat/completions HTTP/{version}"
            writer.write(
                head(start, "Host: edge", f"Authorization: Bearer {token}", "Content-Length: 2", *lines) + b"{}"
            )
            yield reader


async def _stream(seen: Call, writer: asyncio.StreamWriter) -> bool:
    """Answer with an event, and one more every little while, unless nothing at all was to be said."""
    if seen.header("x-say-nothing"):
        return True
    writer.write(STREAM)
    while not writer.is_closing():
        writer.write(EVENT)
        await writer.drain()
        await asyncio.sleep(0.01)
    return False


@asynccontextmanager
async def opened(parts: Parts, state: RunningState | None = None, *, patience: float = 30.0) -> AsyncIterator[Door]:
    """The door over these parts."""
    log: list[str] = []
    unsent, calls = Unsent(), RunningCalls(clock=lambda: NOW, log=log.append, period=0.02, patience=patience)
    async with asyncio.timeout(20), raw_provider(_stream) as provider:
        parts.set_key("openai", "sk-real", origin=provider.origin)
        ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
        seen = state or SqliteRunningState(parts.state)
        watching = asyncio.create_task(calls.watch(lambda: seen))
        async with door(edge.make_handler(lambda: ports), unsent=unsent, running=calls) as port:
            yield Door(port, provider, log, calls)
        watching.cancel()


def during(parts: Parts, act: Callable[[Door], Awaitable[None]], state: RunningState | None = None) -> None:
    async def run() -> None:
        async with opened(parts, state) as one:
            await act(one)

    asyncio.run(run())


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still arrives; a reset ends it as the end does."""
    found = b""
    try:
        while more := await reader.read(65_536):
            found += more
    except ConnectionResetError:
        pass
    return found


def _take_away(parts: Parts, token: str, what: str) -> None:
    if what == "signing key":
        parts.control.list_signing_keys(("another",))
        return
    targets = {
        "everything": "*",
        "issuer": CI,
        "key": "openai",
        "grant": "app",
        "principal": SUB,
        "token": jti_of(token),
    }
    parts.revoke(what, targets[what])


@pytest.mark.parametrize("what", ["everything", "issuer", "key", "grant", "principal", "token", "signing key"])
def test_a_revoked_answer_breaks_off(parts: Parts, what: str) -> None:
    """Whatever a call stands on is taken away: its answer breaks off, visibly incomplete, and at the provider as well."""
    token = parts.token()

    async def act(door: Door) -> None:
        async with door.stream(token) as reader:
            _take_away(parts, token, what)
            assert b"0\r\n\r\n" not in await rest(reader)
        await door.provider.until(lambda: not door.provider.open)
        assert not door.calls.open

    during(parts, act)


def test_the_answers_of_others_run_on(parts: Parts) -> None:
    """A principal's revocation ends its answers and nobody else's."""
    token, other = parts.token(), parts.token(repository_id="77")

    async def act(door: Door) -> None:
        async with door.stream(token) as ends, door.stream(other) as runs_on:
            parts.revoke("principal", SUB)
            await rest(ends)
            for _ in range(20):
                await runs_on.readuntil(b"data: 1\n")

    during(parts, act)


def test_an_older_client_sees_a_reset(parts: Parts) -> None:
    """Where the end of the connection is the end of the answer, it is broken by a reset."""
    token = parts.token()

    async def act(door: Door) -> None:
        async with door.stream(token, "1.0") as reader:
            parts.revoke("principal", SUB)
            with pytest.raises(ConnectionResetError):
                await reader.readuntil(b"there is no end")

    during(parts, act)


def test_a_call_without_an_answer_yet_is_told_why(parts: Parts) -> None:
    """A call that still waits for its provider gets the refusal itself, and the provider's connection is closed."""
    token = parts.token()

    async def act(door: Door) -> None:
        async with door.call(token, "1.1", "X-Say-Nothing: 1") as reader:
            await door.provider.until(lambda: len(door.provider.seen) == 1)
            parts.revoke("grant", "app")
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            assert code((lines, await reader.read(65_536))) == ("403", "revoked")
            assert "x-should-retry: false" in lines
        await door.provider.until(lambda: not door.provider.open)

    during(parts, act)


def test_an_ended_call_is_one_line_of_the_log(parts: Parts) -> None:
    """The log says which call was ended and why, by ids."""
    token = parts.token()

    async def act(door: Door) -> None:
        async with door.stream(token) as reader:
            parts.revoke("principal", SUB)
            await rest(reader)
        (line,) = map(json.loads, door.log)
        assert len(line.pop("request_id")) == 32
        about = {"key": "openai", "grant": "app", "principal": SUB, "jti": jti_of(token)}
        assert line == {"door": "edge", "reason": "revoked_principal", "status": 403, "under_way": True, **about}

    during(parts, act)


class Watched:
    """A state that can be taken away, and that counts how often it is asked. asked: of how many targets, each time."""

    def __init__(self, parts: Parts) -> None:
        self._real = SqliteRunningState(parts.state)
        self.fault: Exception | None = None
        self.asked: list[int] = []

    def see(self, targets: Collection[RevocationTarget]) -> Seen:
        """See `RunningState.see`."""
        self.asked.append(len(targets))
        if self.fault:
            raise self.fault
        return self._real.see(targets)


def test_all_calls_are_seen_in_one_round_trip(parts: Parts) -> None:
    """Ten calls of one token take six targets of one look, and no call takes none."""
    token, state = parts.token(), Watched(parts)

    async def act(door: Door) -> None:
        await asyncio.sleep(0.1)
        assert state.asked == []
        async with streams(door, token, 10):
            before = len(state.asked)
            await door.provider.until(lambda: len(state.asked) > before + 2)
        assert set(state.asked) == {6}

    during(parts, act, state)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [StateUnavailable(), ValueError("a fault of ours")])
def test_no_state_for_long_ends_every_call(parts: Parts, fault: Exception) -> None:
    """Calls run on while their state is out of reach for a moment, and end when it stays so."""
    token, state = parts.token(), Watched(parts)

    async def run() -> None:
        async with opened(parts, state, patience=1.0) as door, door.stream(token) as reader:
            state.fault = fault
            before = len(state.asked)
            await door.provider.until(lambda: len(state.asked) > before + 2)
            state.fault = None
            before = len(state.asked)
            await door.provider.until(lambda: len(state.asked) > before + 2)
            assert door.calls.open
            state.fault = fault
            await rest(reader)
            assert [json.loads(one)["reason"] for one in door.log] == ["state_unavailable"]

    asyncio.run(run())


def test_what_was_not_seen_ends_a_call(parts: Parts) -> None:
    """An answer of the state that lacks a target is no leave to run on."""

    class Forgetful:
        def see(self, _targets: Collection[RevocationTarget]) -> Seen:
            return Seen({}, (parts.signer.kid(),))

    token = parts.token()

    async def act(door: Door) -> None:
        async with door.call(token, "1.1", "Connection: close") as reader:
            await rest(reader)
        assert [json.loads(one)["reason"] for one in door.log] == ["revoked_everything"]

    during(parts, act, Forgetful())


@asynccontextmanager
async def streams(door: Door, token: str, count: int) -> AsyncIterator[None]:
    """So many calls at once whose answers have begun."""
    if not count:
        yield
        return
    async with door.stream(token), streams(door, token, count - 1):
        yield
