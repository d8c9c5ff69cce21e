"""The rules of `chalicelib.usage.AnswerUsage`, whatever it is kept in, and how `Usage` tells what was added."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.errors import Unavailable
from chalicelib.quota import WINDOWS, Limit
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, ModelUse, NotAdded, UsageQuery, window_start
from tests.contracts import samples
from tests.contracts.adapters import Adapters, Make
from tests.contracts.samples import NOW, SIX, SUB, issuance

HOUR = WINDOWS["hour"]


def answered(model: str = "gpt-5-mini", *, at: int = NOW, principal: str = SUB, key: str = "openai") -> Answered:
    return Answered(principal, "ci", key, window_start("minute", at), ModelUse(model, 2, 1, 100, 20, 30))


def models(adapters: Adapters, window: str = "day", at: int = NOW, **more: object) -> tuple[ModelUse, ...]:
    """What the one use in a window says."""
    query = replace(UsageQuery(window, window_start(window, at), principal=SUB), **more)  # type: ignore[arg-type]  # members by name
    (use,) = adapters.usage.uses(query).uses
    return use.models


def prepare(adapters: Adapters) -> Adapters:
    """Let a principal have a token, and call now, a minute later and an hour later."""
    event = samples.event(at=NOW, principal=SUB, grant="ci", key="openai")
    counted = tuple((counter, (Limit(1000, "day"),)) for counter in quota.counters("tokens", "ci", SUB, NOW))
    adapters.ledger.issue(replace(issuance(), event=event, counters=counted), NOW)
    for at in (NOW, NOW + 60, NOW + HOUR):
        adapters.edge_state.read_and_count(SIX, quota.counters("calls", "ci", SUB, at))
    return adapters


@pytest.fixture
def called(adapters: Adapters) -> Adapters:
    """A store in which one principal has called."""
    return prepare(adapters)


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_added_adds_up_in_every_window(called: Adapters, window: str) -> None:
    """A minute's answers are those of its hour and of its day as well, by model."""
    assert called.answers.add([answered(), answered("gpt-5"), answered()]) == NotAdded()
    assert called.answers.add([answered(at=NOW + 60), answered(at=NOW + HOUR)]) == NotAdded()
    times = {"minute": 2, "hour": 3, "day": 4}[window]
    assert models(called, window) == (
        ModelUse("gpt-5", 2, 1, 100, 20, 30),
        ModelUse("gpt-5-mini", 2 * times, times, 100 * times, 20 * times, 30 * times),
    )
    later = {"minute": 60, "hour": HOUR, "day": 0}[window]
    assert models(called, window, NOW + later)[-1].answers == 2 * (times if window == "day" else 1)


def test_answers_of_others_are_apart(called: Adapters) -> None:
    """A use says what its own principal's answers took, and of a key what that key's did."""
    called.answers.add([answered(principal="another"), answered(key="openai-2"), answered("")])
    assert models(called) == (ModelUse("", 2, 1, 100, 20, 30), ModelUse("gpt-5-mini", 2, 1, 100, 20, 30))
    assert models(called, key="openai") == (ModelUse("", 2, 1, 100, 20, 30),)


def test_an_answer_that_outlasts_its_window_is_told(called: Adapters) -> None:
    """What an answer took is told of the window in which it ended, though nothing was called in that."""
    called.answers.add([answered(at=NOW + 2 * HOUR)])
    query = UsageQuery("hour", NOW + 2 * HOUR)
    (use,) = called.usage.uses(query).uses
    assert (use.calls, use.tokens, use.key, use.last_seen) == (0, 0, "openai", NOW + 2 * HOUR)
    assert use.models == (ModelUse("gpt-5-mini", 2, 1, 100, 20, 30),)
    assert called.usage.uses(replace(query, models=False)).uses == ()


def test_who_does_not_want_it_is_not_told(called: Adapters) -> None:
    """What answers took is read only for who asks for it."""
    called.answers.add([answered()])
    assert models(called, models=False) == ()


def test_an_answer_that_says_nothing_is_one(called: Adapters) -> None:
    """What is not known is counted as that, and takes nothing."""
    called.answers.add([answered()._replace(use=ModelUse("", 1, 1))])
    assert models(called, "minute") == (ModelUse("", 1, 1),)


def test_many_models_are_one(called: Adapters) -> None:
    """Names that a provider makes up fill no table: beyond so many in a day they are one, whoever hears them."""
    for writer in range(3):
        answers = called.again().answers
        for number in range(writer, MODELS_KEPT + 3, 3):
            answers.add([answered(f"model-{number:03}")])
    names = {one.model for one in models(called)}
    assert (len(names), OTHER in names) == (MODELS_KEPT + 1, True)
    left = tuple(answered(f"model-{number:03}", at=NOW + HOUR) for number in range(MODELS_KEPT + 3))
    while left:
        left = answers.add(left).left  # what a slow store had no time for
    found = models(called)
    assert {one.model for one in found} == names
    assert {one.answers for one in found if one.model != OTHER} == {4}
    assert sum(one.input_tokens for one in found) == 200 * (MODELS_KEPT + 3)


def test_who_writes_at_once_loses_nothing(called: Adapters) -> None:
    """What several processes add to the same answers at once is their sum."""
    begin = threading.Barrier(3)

    def write(answers: Adapters) -> None:
        begin.wait(30)
        for _ in range(5):
            assert answers.answers.add([answered(), answered("gpt-5")]) == NotAdded()

    writers = [threading.Thread(target=write, args=(called.again(),)) for _ in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
    assert models(called) == (
        ModelUse("gpt-5", 30, 15, 1500, 300, 450),
        ModelUse("gpt-5-mini", 30, 15, 1500, 300, 450),
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
def test_what_is_cut_off_is_said(make_adapters: Make, steps: int) -> None:
    """Of what is left nothing was added, of the rest all; what may have been added is said to be uncertain."""
    rows = [answered(f"model-{number}") for number in range(3)]
    with make_adapters() as adapters:
        prepare(adapters)
        with adapters.cut(steps):
            try:
                missed = adapters.answers.add(rows)
            except Unavailable:
                missed = NotAdded(tuple(rows), 0, "cut off")
        again = adapters.again()
        found = {one.model: one for one in models(again)}
        assert not found.keys() & {one.use.model for one in missed.left}
        whole = ModelUse("", 2, 1, 100, 20, 30)
        assert {replace(one, model="") for one in found.values()} <= {whole}
        assert len(found) + len(missed.left) + missed.uncertain >= len(rows)
        assert bool(missed.cause) or not missed.left
        again.answers.add(missed.left)
        assert {replace(one, model="") for one in models(again)} == {whole} - (
            {whole} if missed.uncertain == 3 else set()
        )
