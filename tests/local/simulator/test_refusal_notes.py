"""Refused calls are noted off the way of the calls, within a bound, whatever becomes of the state meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import pytest

from chalicelib.edge.errors import Revoked, TokenMissing
from chalicelib.edge.refused_calls import RefusedCall, RefusedCalls
from chalicelib.errors import Refusal, StateUnavailable
from local.simulator.http_head import Fields
from local.simulator.refusal_notes import RefusalNotes
from local.simulator.viewer_response import CUT, ViewerResponse, error_response
from tests.parts import NOW

ADA = {"key": "openai", "grant": "ci", "principal": "ada", "jti": "j"}


class Store:
    """Keeps in a list; `fault` is raised instead while there is one."""

    def __init__(self) -> None:
        self.kept: list[RefusedCall] = []
        self.fault: Exception | None = None
        self.failed: Callable[[], object] = lambda: None

    def keep(self, refused: Collection[RefusedCall]) -> None:
        fault = self.fault
        if fault is not None:
            self.failed()
            raise fault
        self.kept += refused

    def refused_call(self, request_id: str, now: int) -> RefusedCall | None:
        raise NotImplementedError


@asynccontextmanager
async def kept(notes: RefusalNotes, store: Callable[[], RefusedCalls]) -> AsyncIterator[None]:
    """Have notes kept within the block, and all of them written at its end."""
    keeping = asyncio.create_task(notes.keep(store))
    await asyncio.sleep(0)
    yield
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


def noted(note: Callable[[RefusalNotes], object], most: int = 200) -> list[RefusedCall]:
    """What is kept of what is noted."""
    store, notes = Store(), RefusalNotes(clock=lambda: NOW + 0.5, most=most)

    async def run() -> None:
        async with kept(notes, lambda: store):
            note(notes)

    asyncio.run(run())
    return store.kept


def refused(number: int, principal: str = "") -> Callable[[RefusalNotes], None]:
    about = {**ADA, "principal": principal} if principal else {}
    return lambda notes: notes.refused(f"{principal}{number}", TokenMissing().with_context(about=about))


def test_what_is_noted() -> None:
    """A refusal is noted with what its log line has, one of a call under way as such, and an answer of our own by its reason."""

    def note(notes: RefusalNotes) -> None:
        notes.refused("r1", TokenMissing())
        notes.ended("r2", Revoked("key").with_context(about=ADA))
        notes.answered("r3", error_response("malformed", "r3"))
        notes.answered("r4", ViewerResponse(200, "OK", Fields.of([])))

    found = {one.request_id: one for one in noted(note)}
    assert found["r1"] == RefusedCall(NOW, "r1", TokenMissing().reason, 401)
    assert found["r2"] == RefusedCall(NOW, "r2", "revoked_key", 403, "openai", "ci", "ada", "j", under_way=True)
    assert (found["r3"].reason, found["r3"].status) == ("malformed", 400)
    assert found.keys() == {"r1", "r2", "r3"}


def test_an_answer_that_was_cut_is_no_refusal() -> None:
    """A provider or a caller that went in the middle of an answer was refused nothing."""
    response = ViewerResponse(200, "OK", Fields.of([]))
    response.why = CUT
    assert noted(lambda notes: notes.answered("r", response)) == []


def test_a_flood_takes_its_own_room() -> None:
    """However many calls a stranger, or one principal, has refused at once, another's is written, and there is a bound."""

    def note(notes: RefusalNotes) -> None:
        refused(1, "ada")(notes)
        for number in range(1000):
            refused(number)(notes)
            refused(number, "eve")(notes)

    ids = {one.request_id for one in noted(note, most=20)}
    assert "ada1" in ids
    assert {"999", "eve999"} <= ids
    assert len(ids) == 1 + 5 + 5


def test_very_many_principals_are_bounded() -> None:
    """Of more principals than may wait, the newest calls are written."""

    def note(notes: RefusalNotes) -> None:
        for number in range(100):
            refused(number, f"p{number}-")(notes)

    assert {one.request_id for one in noted(note, most=20)} == {f"p{n}-{n}" for n in range(80, 100)}


def test_calls_go_on_without_the_state(caplog: pytest.LogCaptureFixture) -> None:
    """While nothing can be written, no fault reaches a call, and the log says that it alone has them."""
    store, notes = Store(), RefusalNotes(clock=lambda: NOW, period=0.01)
    store.fault = StateUnavailable()

    async def run() -> None:
        failed, loop = asyncio.Event(), asyncio.get_running_loop()
        store.failed = lambda: loop.call_soon_threadsafe(failed.set)
        async with kept(notes, lambda: store):
            refused(1)(notes)
            async with asyncio.timeout(5):
                await failed.wait()
            store.fault = None
            refused(2)(notes)

    asyncio.run(run())
    assert [one.request_id for one in store.kept] == ["2"]
    assert "in the log alone: state_unavailable (" in caplog.text


def test_nothing_is_noted_that_nobody_writes() -> None:
    """Without `keep` nothing piles up, and the metrics are told all the same."""
    told: list[tuple[str, Refusal]] = []
    notes = RefusalNotes(also=lambda request_id, refusal: told.append((request_id, refusal)))
    refused(1)(notes)
    assert [one for one, _ in told] == ["1"]
    assert not notes._waiting
