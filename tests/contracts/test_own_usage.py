"""The rules of `chalicelib.usage.OwnUsage`, whatever it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.budget import BudgetLimit, BudgetUse, Reservation
from chalicelib.errors import Refusal
from chalicelib.quota import EVERYBODY, WINDOWS, Limit
from chalicelib.usage import Answered, ModelUse, Use, window_start
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, SUB, issuance

OTHER = f"{SUB}0"


def _issue(adapters: Adapters, sub: str = SUB, grant: str = "ci", now: int = NOW) -> None:
    event = samples.event(at=now, principal=sub, principal_name="its name", grant=grant, key="openai")
    counted = tuple((one, (Limit(1000, "day"),)) for one in quota.counters("tokens", grant, sub, now))
    adapters.ledger.issue(replace(issuance(), event=event, counters=counted), now)


def _call(adapters: Adapters, sub: str = SUB, grant: str = "ci", now: int = NOW, refused: str = "") -> None:
    counters = quota.counters("calls", grant, sub, now)
    adapters.edge_state.read_and_count(SIX, counters)
    if refused:
        adapters.edge_state.give_back(counters, refused)


def _own(adapters: Adapters, now: int = NOW) -> Mapping[str, Use]:
    found = adapters.usage.own(SUB, "ci", now)
    assert list(found) == list(WINDOWS)
    return found


def test_zeros_where_nothing_was_done(adapters: Adapters) -> None:
    """Who did nothing has zeros in every window, whatever others did."""
    for sub, grant in ((OTHER, "ci"), (SUB, "other"), (EVERYBODY, "ci")):
        _issue(adapters, sub, grant)
        _call(adapters, sub, grant)
    assert _own(adapters) == dict.fromkeys(WINDOWS, Use(SUB, "ci"))


def test_one_s_own_counts(adapters: Adapters) -> None:
    """Calls, tokens and refusals of one principal under one grant are told, and nobody else's."""
    for sub, grant in ((SUB, "ci"), (OTHER, "ci"), (SUB, "other")):
        _issue(adapters, sub, grant)
        for refused in ("", "", "quota_calls"):
            _call(adapters, sub, grant, refused=refused)
    expected = Use(SUB, "ci", "openai", "its name", 1, 2, {}, {"quota_calls": 1}, NOW)
    assert _own(adapters) == dict.fromkeys(WINDOWS, expected)


def test_each_window_has_its_own(adapters: Adapters) -> None:
    """What was done in the minute, hour or day before is told in the longer windows alone."""
    hour = window_start("day", NOW) + 13 * 3600
    for now in (hour - 60, hour, hour + 60):
        _call(adapters, now=now)
    assert {window: use.calls for window, use in _own(adapters, hour + 60).items()} == {
        "minute": 1,
        "hour": 2,
        "day": 3,
    }


def test_what_answers_took(adapters: Adapters) -> None:
    """What models took is told of the hour and the day, of this principal alone."""
    use = ModelUse("gpt-5-mini", answers=1, input_tokens=10, output_tokens=5)
    other = replace(use, input_tokens=7)
    minute = window_start("minute", NOW)
    adapters.answers.add([Answered(SUB, "ci", "openai", minute, use), Answered(OTHER, "ci", "openai", minute, other)])
    found = _own(adapters)
    assert (found["hour"].models, found["day"].models) == ((use,), (use,))


def test_what_is_reserved_and_used(adapters: Adapters) -> None:
    """What calls under way have reserved is told beside what is used, in every window."""
    limits = [BudgetLimit("usage", 1000, "day")]
    for name, principal in (("one", SUB), ("two", SUB), ("three", OTHER)):
        reservation = Reservation(name, "ci", principal, NOW, {"usage": 100}, shared=False)
        assert adapters.budgets.reserve(reservation, limits, NOW) is None
        _call(adapters, principal)
        if name == "one":
            assert adapters.budgets.settle(reservation, {"usage": 30})
    assert [use.budgets for use in _own(adapters).values()] == [{"usage": BudgetUse(30, 100)}] * 3


def test_out_of_reach(adapters: Adapters) -> None:
    """What cannot be read is unavailable, and never zeros."""
    _call(adapters)
    with adapters.cut(0), pytest.raises(Refusal) as caught:
        _own(adapters)
    assert caught.value.status == 503
