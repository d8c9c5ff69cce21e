"""What answers took is counted by model, off the way of the calls, whatever becomes of the state meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import brotli
import pytest
from multidict import CIMultiDict

import edge
from chalicelib.edge.billing import Bill
from chalicelib.edge.call import Admitted
from chalicelib.errors import StateUnavailable
from chalicelib.models.charge import Ending
from chalicelib.models.charge import Seen as ChargedFor
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.keys import ProviderKey
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, ModelUse, NotAdded, UsageQuery, window_start
from local.simulator import answer_tally
from local.simulator.answer_tally import AnswerTally
from local.simulator.origin_exchange import OriginAnswer
from local.simulator.settlements import Settlements
from local.simulator.unsent import Unsent
from local.sqlite.answer_usage import SqliteAnswerUsage
from local.sqlite.usage import SqliteUsage
from tests.edge_door import door, head, talk, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import Seen, raw_provider

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
ANSWER = json.dumps({"model": "gpt-5-mini", "choices": [], "usage": USAGE}).encode()
STREAM = b'data: {"choices": [], "usage": null}\n\ndata: ' + ANSWER + b"\n\ndata: [DONE]\n\n"
GZIP, BR, ZSTD = gzip.compress(ANSWER), brotli.compress(STREAM), zstd.compress(STREAM)
KEY = ProviderKey("1", "https://provider.example", "authorization", "Bearer ", "sk-real")
OF = Admitted(KEY, "sub", "app", "jti", "/v1/chat/completions", key_name="openai", provider="openai")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant(scope='["POST:/v1/chat/completions", "POST:/v1/files", "GET:/v1/models"]'))
        yield made


class Store:
    """A store that can be taken away, or loses its answers, and says what was added. held: until it is set, nothing is."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.missed: Callable[[tuple[Answered, ...]], NotAdded] = lambda _: NotAdded()
        self.added: list[Answered] = []
        self.begun, self.held = threading.Event(), threading.Event()
        self.held.set()

    def add(self, answered: Collection[Answered]) -> NotAdded:
        """See `AnswerUsage.add`."""
        self.begun.set()
        self.held.wait(10)
        if self.fault:
            raise self.fault
        missed = self.missed(tuple(answered))
        if not missed.uncertain:
            self.added += [one for one in answered if one not in missed.left]
        return missed


@asynccontextmanager
async def kept(tally: AnswerTally, store: Store | SqliteAnswerUsage) -> AsyncIterator[None]:
    """Keep a tally meanwhile, and write what is left at the end."""
    keeping = asyncio.create_task(tally.keep(lambda: store))
    await asyncio.sleep(0)
    yield
    keeping.cancel()
    await asyncio.wait([keeping])


def answer_of(content: bytes, content_type: str = "application/json", *lines: str, status: str = "200 OK") -> bytes:
    return (
        head(f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(content)}", *lines) + content
    )


def during(
    parts: Parts,
    answer: bytes,
    act: Callable[[int, str], Awaitable[None]],
    also: Callable[[str, TokenUse | None], None] | None = None,
) -> tuple[ModelUse, ...]:
    """What was counted once something has happened before a provider with this answer. act: gets the port and a token.

    also: as the tally's.
    """
    token = parts.token()

    async def say(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return True

    async def run() -> None:
        unsent, tally = Unsent(), AnswerTally(lambda: NOW, also=also)
        async with asyncio.timeout(20), raw_provider(say) as provider:
            parts.set_key("openai", "sk-real", origin=provider.origin)
            ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
            async with (
                kept(tally, SqliteAnswerUsage(parts.state.again())),
                door(edge.make_handler(lambda: ports), unsent=unsent, answers=tally) as port,
            ):
                await act(port, token)

    asyncio.run(run())
    query = UsageQuery("hour", window_start("hour", NOW))
    (use,) = SqliteUsage(parts.state).uses(query).uses
    return use.models


def call(token: str, start: str = "POST /openai/v1/chat/completions") -> bytes:
    lines = ("Host: edge", "Connection: close", f"Authorization: Bearer {token}", "Accept-Encoding: gzip, br")
    return head(f"{start} HTTP/1.1", *lines, *["Content-Length: 2"] * start.startswith("POST")) + (
        b"{}" if start.startswith("POST") else b""
    )


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (answer_of(ANSWER), ANSWER),
        (answer_of(STREAM, "text/event-stream"), STREAM),
        (answer_of(GZIP, "application/json", "Content-Encoding: gzip"), GZIP),
        (answer_of(BR, "text/event-stream", "Content-Encoding: br"), BR),
        (answer_of(ZSTD, "text/event-stream", "Content-Encoding: zstd"), ZSTD),
        (answer_of(ANSWER, "Application/JSON"), ANSWER),
        (answer_of(GZIP, "Application/JSON", "Content-Encoding: gzip"), GZIP),
    ],
    ids=["document", "stream", "gzip", "br", "zstd", "capitals", "capitals-gzip"],
)
def test_an_answer_is_counted_and_goes_on_as_it_is(parts: Parts, answer: bytes, content: bytes) -> None:
    """What an answer took is counted, and not a byte of it is changed."""

    async def act(port: int, token: str) -> None:
        for _ in range(2):
            assert (await talk(port, call(token)))[1] == content

    assert during(parts, answer, act) == (ModelUse("gpt-5-mini", 2, 0, 24, 10, 16),)


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(b'data: {"choices": []}\n\ndata: [DONE]\n\n', "text/event-stream"),
        answer_of(ANSWER, "application/json", "Content-Encoding: br"),
        answer_of(GZIP + b"k" * 100_000, "application/json", "Content-Encoding: gzip"),
        answer_of(b"{]"),
    ],
    ids=["not-said", "not-decoded", "more-behind", "malformed"],
)
def test_what_is_not_known_is_counted_as_that(parts: Parts, answer: bytes) -> None:
    """An answer that does not say it, or that cannot be read, is one whose usage is unknown."""

    async def act(port: int, token: str) -> None:
        await talk(port, call(token))

    assert during(parts, answer, act) == (ModelUse("", 1, 1),)


@pytest.mark.parametrize(
    ("start", "answer"),
    [
        ("POST /openai/v1/chat/completions", answer_of(ANSWER, status="500 Internal Server Error")),
        ("POST /openai/v1/files", answer_of(b'{"id": "file-1"}')),
        ("GET /openai/v1/models", answer_of(ANSWER)),
        ("POST /openai/v1/chat/completions", answer_of(b"RIFF", "audio/wav")),
    ],
    ids=["error", "files", "list", "sound"],
)
def test_what_takes_nothing_is_not_counted(parts: Parts, start: str, answer: bytes) -> None:
    """Errors, and answers of endpoints that run no model, say nothing of usage and are not called unknown."""

    async def act(port: int, token: str) -> None:
        await talk(port, call(token, start))

    assert during(parts, answer, act) == ()


def test_an_answer_that_breaks_off_is_not_all_known(parts: Parts) -> None:
    """What an answer said before its caller left counts, and is marked."""
    events = b"data: " + ANSWER + b"\n\n"
    answer = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Content-Length: 5000") + events

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(call(token))
            await reader.readuntil(events)
        await asyncio.sleep(0.05)

    assert during(parts, answer, act) == (ModelUse("gpt-5-mini", 1, 1, 12, 5, 8),)


def test_a_fault_in_counting_fails_no_call(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong where an answer is counted, its caller has it, and the next call on the connection is served."""

    def fail(_key: str, _use: TokenUse | None) -> None:
        raise KeyError

    async def act(port: int, token: str) -> None:
        async with viewer(port) as (reader, writer):
            for _ in range(3):
                writer.write(call(token).replace(b"Connection: close\r\n", b""))
                await reader.readuntil(ANSWER)

    assert during(parts, answer_of(ANSWER), act, also=fail) == ()
    assert caplog.text.count("what an answer took is not counted: KeyError") == 3


def test_a_state_that_is_away_delays_nothing_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written waits; what may have been written is not written twice."""
    monkeypatch.setattr(answer_tally, "PERIOD", 0.01)
    tally, store = AnswerTally(lambda: NOW), Store()

    async def run() -> None:
        async with asyncio.timeout(10), kept(tally, store):
            store.fault = StateUnavailable()
            tally.note(OF, TokenUse("m", 1, 2, 0), is_whole=True)
            await asyncio.sleep(0.05)
            tally.note(OF, TokenUse("m", 1, 2, 0), is_whole=True)
            await asyncio.sleep(0.05)
            store.fault = None
            while not store.added:  # noqa: ASYNC110  it is written in a thread
                await asyncio.sleep(0.01)
            store.missed = lambda rows: NotAdded(uncertain=len(rows))
            tally.note(OF, TokenUse("m", 1, 2, 0), is_whole=True)
            await asyncio.sleep(0.05)
            store.missed = lambda _: NotAdded()

    asyncio.run(run())
    assert store.added == [Answered("sub", "app", "openai", NOW, ModelUse("m", 2, 0, 2, 4, 0))]


def test_what_is_left_is_written_with_what_came_since() -> None:
    """A store that takes only some rows gets the others later, each once, and with what was counted meanwhile."""
    tally, store = AnswerTally(lambda: NOW, 0.01), Store()
    store.missed = lambda rows: NotAdded(rows[1:], 0, "ThrottlingException")

    async def run() -> None:
        async with asyncio.timeout(10), kept(tally, store):
            for model in ("a", "b"):
                tally.note(OF, TokenUse(model, 1, 2, 0), is_whole=True)
            while not store.added:  # noqa: ASYNC110  it is written in a thread
                await asyncio.sleep(0.01)
            tally.note(OF, TokenUse("b", 1, 2, 0), is_whole=True)

    asyncio.run(run())
    uses = Counter(one.use.model for one in store.added for _ in range(one.use.answers))
    assert uses == {"a": 1, "b": 2}


def test_a_writing_that_is_under_way_at_the_end_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """What a writing that was under way could not write is written once more at the end, and what is lost then is said."""
    tally, store = AnswerTally(lambda: NOW, 0.01), Store()
    store.held.clear()

    async def run() -> None:
        keeping = asyncio.create_task(tally.keep(lambda: store))
        await asyncio.sleep(0)
        tally.note(OF, TokenUse("m", 1, 2, 0), is_whole=True)
        await asyncio.to_thread(store.begun.wait, 10)
        store.missed = lambda rows: NotAdded(rows, 0, "ThrottlingException")
        keeping.cancel()
        await asyncio.sleep(0)
        store.held.set()
        await asyncio.wait([keeping])

    asyncio.run(run())
    assert store.added == []
    assert "what answers took is not counted: 1 could not be written" in caplog.text


@pytest.mark.parametrize("lines", [(), (("Content-Encoding", "gzip"),)], ids=["plain", "compressed"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_in_one_piece_is_as_any(lines: tuple[tuple[str, str], ...], *, is_whole: bool) -> None:
    """An answer that came in one piece is counted as one that came in several, also if its caller left before its end."""
    content = gzip.compress(ANSWER) if lines else ANSWER
    headers = CIMultiDict([("Content-Type", "application/json"), *lines])
    upstream = cast("OriginAnswer", SimpleNamespace(status=200, headers=headers))
    settlement, raised = Settlements().of(OF), None if is_whole else asyncio.CancelledError

    async def run(tally: AnswerTally, store: Store, pieces: int) -> None:
        async with kept(tally, store):
            if pieces == 1:
                tally.take(settlement, "POST", upstream, content, is_whole=is_whole)
                return
            reading = tally.reading(settlement, "POST", upstream)
            feed = reading.__enter__()
            feed(content[:9])
            feed(content[9:])
            reading.__exit__(raised, None, None)

    stores = Store(), Store()
    for pieces, store in enumerate(stores, 1):
        asyncio.run(run(AnswerTally(lambda: NOW), store, pieces))
    assert stores[0].added == stores[1].added
    assert [(one.use.answers, one.use.unknown) for one in stores[0].added] == [(1, int(not is_whole))]


def test_a_stream_that_only_began_is_not_all_known() -> None:
    """A stream that ends, in order, before it has said what it took is marked, and charged as one that broke off."""
    event = {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 9, "output_tokens": 2}}}
    content = (
        b"event: message_start\ndata: " + json.dumps(event).encode() + b'\n\nevent: error\ndata: {"type": "error"}\n\n'
    )
    headers = CIMultiDict([("Content-Type", "text/event-stream")])
    upstream = cast("OriginAnswer", SimpleNamespace(status=200, headers=headers))
    charged: list[tuple[object, ...]] = []
    bill = cast("Bill", SimpleNamespace(settle=lambda *ending: charged.append(ending)))
    of = OF._replace(path="/v1/messages", provider="anthropic", bill=bill)
    settlement = Settlements().of(of)
    settlement.answered(200)

    async def run(tally: AnswerTally, store: Store) -> None:
        async with kept(tally, store):
            tally.take(settlement, "POST", upstream, content, is_whole=True)
            settlement.end()

    store = Store()
    asyncio.run(run(AnswerTally(lambda: NOW), store))
    assert [one.use for one in store.added] == [ModelUse("c", 1, 1, 9, 2, 0)]
    ((ending, seen),) = charged
    assert (ending, cast("ChargedFor", seen).is_stream) == (Ending.CUT, True)


def test_made_up_models_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beyond those that are kept of a principal in a day are one row from the start, and take no room of others'."""
    monkeypatch.setattr(answer_tally, "MOST", 100)
    tally, store = AnswerTally(lambda: NOW), Store()

    async def run() -> None:
        async with kept(tally, store):
            for number in range(10_000):
                tally.note(OF, TokenUse(f"m{number}", 1, 0, 0), is_whole=True)
            tally.note(OF._replace(principal="other"), TokenUse("m", 1, 0, 0), is_whole=True)

    asyncio.run(run())
    of_first = [one.use for one in store.added if one.principal == "sub"]
    assert (len(of_first), of_first[-1]) == (
        MODELS_KEPT + 1,
        ModelUse(OTHER, 10_000 - MODELS_KEPT, 0, 10_000 - MODELS_KEPT),
    )
    assert store.added[-1] == Answered("other", "app", "openai", NOW, ModelUse("m", 1, 0, 1, 0, 0))


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the state is away only so much is remembered."""
    monkeypatch.setattr(answer_tally, "MOST", 3)
    tally, store = AnswerTally(lambda: NOW), Store()

    async def run() -> None:
        async with kept(tally, store):
            for number in range(10):
                tally.note(OF, TokenUse(f"m{number}", 1, 0, 0), is_whole=True)

    asyncio.run(run())
    assert [one.use.model for one in store.added] == ["m0", "m1", "m2"]
