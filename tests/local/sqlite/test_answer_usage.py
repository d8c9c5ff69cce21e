"""What answers took, as SQLite keeps it."""

from __future__ import annotations

import pytest

from chalicelib import quota
from chalicelib.quota import WINDOWS
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, ModelUse, UsageQuery, window_start
from local.sqlite.answer_usage import SqliteAnswerUsage
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import sweep
from local.sqlite.usage import SqliteUsage
from tests.local.sqlite.conftest import NOW


def answered(model: str = "gpt-5-mini", *, at: int = NOW, principal: str = "sub", key: str = "openai") -> Answered:
    return Answered(principal, "app", key, window_start("minute", at), ModelUse(model, 2, 1, 100, 20, 30))


def models(state: StateFile, window: str = "day", at: int = NOW) -> tuple[ModelUse, ...]:
    """What the one use in a window says; its call was counted as calls are."""
    (use,) = SqliteUsage(state).uses(UsageQuery(window, window_start(window, at))).uses
    return use.models


@pytest.fixture
def state(kept: StateFile) -> StateFile:
    """A state in which one principal has called, now and an hour later."""
    for at in (NOW, NOW + 3600):
        SqliteEdgeState(kept).count(quota.counters("calls", "app", "sub", at))
    return kept


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_added_adds_up_in_every_window(state: StateFile, window: str) -> None:
    """A minute's answers are those of its hour and of its day as well, by model."""
    store = SqliteAnswerUsage(state)
    store.add([answered(), answered("gpt-5"), answered()])
    store.add([answered(at=NOW + 3600)])
    times = 3 if window == "day" else 2
    assert models(state, window) == (
        ModelUse("gpt-5", 2, 1, 100, 20, 30),
        ModelUse("gpt-5-mini", 2 * times, times, 100 * times, 20 * times, 30 * times),
    )


def test_answers_of_others_are_apart(state: StateFile) -> None:
    """A use says what its own principal's answers took, and of a key what that key's did."""
    SqliteAnswerUsage(state).add([answered(principal="another"), answered(key="openai-2")])
    assert models(state) == (ModelUse("gpt-5-mini", 2, 1, 100, 20, 30),)


def test_many_models_are_one(state: StateFile) -> None:
    """Names that a provider makes up fill no table: beyond so many in a day they are one."""
    store = SqliteAnswerUsage(state)
    for number in range(MODELS_KEPT + 3):
        store.add([answered(f"model-{number:03}")])
    store.add([answered("model-000")])
    found = models(state)
    assert len(found) == MODELS_KEPT + 1
    assert (found[0].answers, found[-1]) == (4, ModelUse(OTHER, 6, 3, 300, 60, 90))


def test_they_are_removed_with_the_counters(state: StateFile) -> None:
    """What answers took is kept as long as the counters beside it."""
    SqliteAnswerUsage(state).add([answered()])
    for length, rows in ((quota.COUNTERS_KEPT, 3), (quota.COUNTERS_KEPT + 3 * 86400, 0)):
        list(sweep(state, NOW + length - 1))
        with state.reading() as connection:
            assert connection.execute("SELECT count(*) FROM answers").fetchone() == (rows,)
