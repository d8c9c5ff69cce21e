"""A call that has reserved a part of a budget is settled when it has ended, however it ended."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

import edge
from chalicelib.edge.billing import Bill
from chalicelib.edge.call import Admitted
from chalicelib.errors import StateUnavailable
from chalicelib.models.worst_case import OVERHEAD_TOKENS
from chalicelib.providers.keys import ProviderKey
from chalicelib.usage import UsageQuery, window_start
from local.simulator import settlements
from local.simulator.settlements import Settlement, Settlements
from local.simulator.unsent import Unsent
from local.sqlite.usage import SqliteUsage
from tests.edge_door import door, head, talk, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import Seen, raw_provider

BODY = json.dumps({"model": "gpt-5-mini", "max_tokens": 400}).encode()
INPUT = len(BODY) + OVERHEAD_TOKENS
USAGE = {"prompt_tokens": 12, "completion_tokens": 5}
ANSWER = json.dumps({"model": "gpt-5-mini", "choices": [], "usage": USAGE}).encode()
EVENT = b'data: {"choices": []}\n\n'


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(quota="{tokens: 100/hour, calls: 100/minute, usage: [3000 tokens/day]}"))
        yield made


def call(token: str) -> bytes:
    lines = ("Host: edge", "Connection: close", f"Authorization: Bearer {token}", "Content-Type: application/json")
    return head("POST /openai/v1/chat/completions HTTP/1.1", *lines, f"Content-Length: {len(BODY)}") + BODY


def answer_of(
    content: bytes, content_type: str = "application/json", *, status: str = "200 OK", more: int = 0
) -> bytes:
    lines = (f"Content-Type: {content_type}", f"Content-Length: {len(content) + more}")
    return head(f"HTTP/1.1 {status}", *lines) + content


def used(parts: Parts) -> tuple[int, int]:
    query = UsageQuery("day", window_start("day", NOW), now=NOW)
    uses = SqliteUsage(parts.state).uses(query).uses
    found = uses[0].budgets.get("usage") if uses else None
    return (found.used, found.reserved) if found else (0, 0)


@asynccontextmanager
async def at(parts: Parts, origin: str) -> AsyncIterator[int]:
    """The port of an edge as one machine has it, whose key has this origin."""
    parts.set_key("openai", "sk-real", origin=origin)
    unsent = Unsent()
    ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
    async with asyncio.timeout(20), door(edge.make_handler(lambda: ports), unsent=unsent) as port:
        yield port


def after(
    parts: Parts, answer: bytes, act: Callable[[int, str], Awaitable[None]] | None = None, *, stays: bool = True
) -> tuple[int, int]:
    """What is used and reserved after a call to a provider with this answer."""
    token = parts.token()

    async def say(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return stays

    async def run() -> None:
        async with raw_provider(say) as provider, at(parts, provider.origin) as port:
            await (act(port, token) if act else talk(port, call(token)))

    asyncio.run(run())
    return used(parts)


@pytest.mark.parametrize(
    ("answer", "charged"),
    [
        (answer_of(ANSWER), 17),
        (answer_of(EVENT + b"data: " + ANSWER + b"\n\ndata: [DONE]\n\n", "text/event-stream"), 17),
        (answer_of(EVENT + b"data: [DONE]\n\n", "text/event-stream"), INPUT + 400),
        (answer_of(b"{]"), INPUT + 400),
        (answer_of(b"RIFF", "audio/wav"), INPUT + 400),
        (answer_of(ANSWER, status="400 Bad Request"), 0),
        (answer_of(ANSWER, status="429 Too Many Requests"), 0),
        (answer_of(ANSWER, status="500 Internal Server Error"), INPUT),
        (answer_of(b"", status="304 Not Modified"), 0),
    ],
    ids=["document", "stream", "not-said", "malformed", "sound", "refused", "limited", "failed", "redirected"],
)
def test_an_answer_settles_its_call(parts: Parts, answer: bytes, charged: int) -> None:
    """A call is charged what its answer says, the worst case where it says nothing, and nothing where it was refused."""
    assert after(parts, answer) == (charged, 0)


def test_the_next_call_finds_what_is_left(parts: Parts) -> None:
    """A call is settled before its caller can send the next: one after the other, all go on, whatever each could have taken."""

    async def act(port: int, token: str) -> None:
        for _ in range(20):
            lines, _ = await talk(port, call(token))
            assert lines[0].split(" ")[1] == "200"

    assert after(parts, answer_of(ANSWER), act) == (20 * 17, 0)


def test_calls_at_once_are_refused_in_words(parts: Parts) -> None:
    """While calls under way have reserved all that is left, another one is a 429 that says so, and later goes on."""

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (first, one), viewer(port) as (second, two):
            for writer in (one, two):
                writer.write(call(token))
            await asyncio.gather(first.readuntil(EVENT), second.readuntil(EVENT))
            assert used(parts) == (0, 2 * (INPUT + 400))
            lines, body = await talk(port, call(token))
            assert lines[0].split(" ")[1] == "429"
            assert "of the quota of 3000 tokens/day of yours" in json.loads(body)["error"]["message"]
            assert "retry-after: 5" in [line.lower() for line in lines]
        await until(lambda: used(parts)[1] == 0)

    taken, reserved = after(parts, answer_of(EVENT, "text/event-stream", more=50), act)
    assert reserved == 0
    assert 2 * (INPUT + len(EVENT)) <= taken <= 2 * (INPUT + 400)


def test_a_caller_that_hangs_up_pays_for_what_it_saw(parts: Parts) -> None:
    """A stream that its caller leaves is charged the input and what went on of the answer, and holds nothing any more."""

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(call(token))
            await reader.readuntil(EVENT)
        await until(lambda: used(parts)[1] == 0)

    taken, _ = after(parts, answer_of(EVENT, "text/event-stream", more=50), act)
    assert INPUT + len(EVENT) <= taken <= INPUT + 400


@pytest.mark.parametrize(
    "answer",
    [answer_of(b'{"choices": [', more=50), answer_of(EVENT, "text/event-stream\r\nContent-Encoding: gzip", more=50)],
    ids=["document", "compressed"],
)
def test_what_shows_no_output_is_charged_in_full(parts: Parts, answer: bytes) -> None:
    """Of an answer that is no stream, or compressed, its bytes do not say how much was put out before its caller left."""

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(call(token))
            await reader.readuntil(b"choices")
        await until(lambda: used(parts)[1] == 0)

    assert after(parts, answer, act) == (INPUT + 400, 0)


def test_a_caller_that_leaves_before_the_answer_pays_the_worst_case(parts: Parts) -> None:
    """What a provider may have done for a caller that did not wait is not known, and counts as the worst case."""

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (_, writer):
            writer.write(call(token))
            await until(lambda: used(parts)[1] > 0)
            await asyncio.sleep(0.1)
        await until(lambda: used(parts)[1] == 0)

    assert after(parts, b"", act) == (INPUT + 400, 0)


def test_a_provider_that_breaks_off_is_charged_as_far_as_it_came(parts: Parts) -> None:
    """An answer that the provider breaks off, at whichever byte of it, holds nothing any more."""
    whole = answer_of(EVENT + b"data: " + ANSWER + b"\n\n", "text/event-stream")
    taken = 0
    for left_out in (1, len(ANSWER), len(ANSWER) + 40):
        before = taken
        taken, reserved = after(parts, whole[:-left_out], stays=False)
        charged = (17, 400) if left_out == 1 else (INPUT, INPUT + 400)
        assert reserved == 0
        assert charged[0] <= taken - before <= charged[1]
        parts.apply(grant(quota="{tokens: 100/hour, calls: 100/minute, usage: [9000 tokens/day]}"))


def test_a_stream_that_breaks_off_at_once_is_charged_for_its_time(parts: Parts) -> None:
    """A provider that breaks off after the head of a stream has put out what it can have until then, and not the worst case."""
    taken, reserved = after(parts, answer_of(b"", "text/event-stream", more=50), stays=False)
    assert reserved == 0
    assert INPUT <= taken < INPUT + 400


def test_a_provider_that_says_nothing_is_charged_the_input(parts: Parts) -> None:
    """A connection that ends without an answer is charged the input, which the provider may have read."""
    assert after(parts, b"", stays=False) == (INPUT, 0)


def test_an_unreachable_provider_is_charged_nothing(parts: Parts) -> None:
    """A call of which nothing was sent gives back all that it reserved."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]

    async def run() -> None:
        async with at(parts, f"http://localhost:{closed}") as port:
            await talk(port, call(parts.token()))

    asyncio.run(run())
    assert used(parts) == (0, 0)


def test_a_state_that_is_away_settles_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be settled now is repeated until it can be, and is settled at the end at the latest."""
    monkeypatch.setattr(settlements, "PERIOD", 0.01)
    asked: list[int] = []

    class Away:
        """A bill whose state is away twice."""

        def settle(self, *_ending: object) -> bool:
            """See `Bill.settle`."""
            asked.append(1)
            if len(asked) < 3:
                raise StateUnavailable
            return True

    async def run() -> None:
        kept = Settlements()
        keeping = asyncio.create_task(kept.keep())
        key = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "made-up")
        settlement = Settlement(kept, Admitted(key, "sub", "app", "jti", bill=cast("Bill", Away())))
        settlement.answered(200)
        settlement.end()
        async with asyncio.timeout(10):
            await until(lambda: len(asked) == 3)
        await asyncio.sleep(0.05)
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(run())
    assert len(asked) == 3


def test_an_end_amid_repeating_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that wait to be settled when a process ends amid that are settled by its last attempt, as often as it takes."""
    monkeypatch.setattr(settlements, "PERIOD", 0.01)
    held, begun, settled = threading.Event(), threading.Event(), list[str]()

    def settle(name: str) -> None:
        if not begun.is_set() and name == "a":
            begun.set()
            held.wait(10)
        settled.append(name)

    async def run() -> None:
        kept = Settlements()
        kept._waiting += [lambda name=name: settle(name) for name in "abc"]  # type: ignore[misc]  # mypy takes it for a parameter
        keeping = asyncio.create_task(kept.keep())
        await asyncio.to_thread(begun.wait, 10)
        keeping.cancel()
        await asyncio.sleep(0)
        held.set()
        await asyncio.wait([keeping])

    asyncio.run(run())
    assert set(settled) == {"a", "b", "c"}


def test_calls_that_end_together_do_not_each_wait() -> None:
    """While one waits for the state to come back, those that end after it are not tried, which would hold up all others."""
    asked: list[int] = []

    def settle() -> None:
        asked.append(1)
        raise StateUnavailable

    kept = Settlements()
    for _ in range(200):
        kept.settle(settle)
    assert (len(asked), len(kept._waiting)) == (1, 200)


def test_a_state_that_is_away_is_asked_once_a_round() -> None:
    """However many calls wait, a state that is away is tried with one of them, so that an end takes no longer than that."""
    asked: list[int] = []

    def settle() -> None:
        asked.append(1)
        raise StateUnavailable

    async def run() -> None:
        kept = Settlements()
        kept._waiting += [settle] * 1_000
        keeping = asyncio.create_task(kept.keep())
        await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.wait([keeping])
        assert len(kept._waiting) == 1_000

    asyncio.run(run())
    assert len(asked) == 1


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  it is a row of the state
        await asyncio.sleep(0.005)
