"""How long answers took is added up off the way of the calls, and refused calls are left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

import pytest

from chalicelib.edge.response_times import Responses
from chalicelib.errors import StateUnavailable
from local.simulator.function_result import GeneratedResponse
from local.simulator.http_head import Fields
from local.simulator.response_tally import MOST, ResponseTally
from local.simulator.viewer_response import CUT, ViewerResponse, error_response, generated_response
from tests.parts import NOW


class Store:
    """Keeps in a list; `fault` is raised instead while there is one."""

    def __init__(self) -> None:
        self.added: list[Responses] = []
        self.fault: Exception | None = None

    def add(self, noted: Collection[Responses]) -> None:
        if self.fault is not None:
            raise self.fault
        self.added += noted

    def responses(self, now: int) -> tuple[Responses, ...]:
        raise NotImplementedError


def answer(status: int = 200, why: str = "") -> ViewerResponse:
    made = ViewerResponse(status, "", Fields.of([]))
    made.why, made.first_sent_at = why, time.perf_counter()
    return made


def tallied(end: Callable[[ResponseTally], object], store: Store, clock: Callable[[], float] = lambda: NOW) -> None:
    """Have these ends counted, and written at the end."""

    async def run() -> None:
        tally = ResponseTally(clock)
        keeping = asyncio.create_task(tally.keep(lambda: store))
        await asyncio.sleep(0)
        end(tally)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

    asyncio.run(run())


@pytest.mark.parametrize(
    ("response", "counted"),
    [
        (answer(), (1, 0)),
        (answer(404), (1, 0)),
        (answer(500), (1, 1)),
        (answer(200, CUT), (1, 1)),
        (answer(429, "quota_calls"), None),
        (answer(503, "state_unavailable"), (1, 1)),
        (error_response("timeout", "r"), (1, 1)),
        (generated_response(GeneratedResponse(403, "Forbidden", [], b"")), None),
        (generated_response(GeneratedResponse(503, "Service Unavailable", [], b"")), (1, 1)),
    ],
)
def test_what_counts(response: ViewerResponse, counted: tuple[int, int] | None) -> None:
    """A provider's answer counts, whatever it says; 500 and more and what broke off count as failed; a refusal is none."""
    store = Store()
    tallied(lambda tally: tally.ended(time.perf_counter() - 0.3, response), store)
    found = {(one.calls, one.failed) for one in store.added}
    assert found == (set() if counted is None else {counted})
    assert counted is None or {one.window for one in store.added} == {"minute", "hour"}


def test_the_time_to_the_first_byte() -> None:
    """What counts is when the first byte was sent, however long the rest took."""
    response, store = answer(), Store()
    response.first_sent_at = time.perf_counter() - 9
    tallied(lambda tally: tally.ended(response.first_sent_at - 0.3, response), store)
    assert {one.quantile(1.0) for one in store.added} == {0.35}


def test_a_state_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written is said in the log, and stops nothing."""
    store = Store()
    store.fault = StateUnavailable()
    tallied(lambda tally: tally.ended(0.0, answer()), store)
    assert [one.getMessage() for one in caplog.records] == ["how long answers took is not counted: StateUnavailable"]


def test_what_waits_is_bounded() -> None:
    """A writing that takes for ever lets few minutes wait; each window that they are in is written once."""
    times, store = iter(range(NOW, NOW + 60 * 100, 60)), Store()

    def end(tally: ResponseTally) -> None:
        for _ in range(100):
            tally.ended(time.perf_counter(), answer())

    tallied(end, store, lambda: next(times))
    minutes = [one for one in store.added if one.window == "minute"]
    assert len(minutes) == MOST == sum(one.calls for one in store.added if one.window == "hour")
    assert max(one.start for one in minutes) > NOW + 60 * 98
    assert len({(one.window, one.start) for one in store.added}) == len(store.added)
