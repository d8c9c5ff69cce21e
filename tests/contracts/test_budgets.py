"""The rules of `chalicelib.budget.Budgets`, whatever it is kept in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib import quota
from chalicelib.budget import HELD_SECONDS, Balance, BudgetLimit, Budgets, BudgetUse, Reservation
from chalicelib.quota import WINDOWS, Limit
from chalicelib.usage import UsageQuery
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SUB

DAY = BudgetLimit("usage", 100, "day")
OF_MONEY = BudgetLimit("spend", 100, "day")
OF_ALL = BudgetLimit("usage", 150, "day", shared=True)


@pytest.fixture
def budgets(adapters: Adapters) -> Budgets:
    event = samples.event(at=NOW, principal=SUB, grant="ci", key="openai")
    counted = tuple((counter, (Limit(9, "day"),)) for counter in quota.counters("tokens", "ci", SUB, NOW))
    adapters.ledger.issue(replace(samples.issuance(), event=event, counters=counted), NOW)
    return adapters.budgets


def call(name: str, amount: int, sub: str = SUB, at: int = NOW, *, shared: bool = False) -> Reservation:
    return Reservation(name, "ci", sub, at, {"usage": amount}, shared)


def used(adapters: Adapters, window: str = "day", now: int = NOW, sub: str = SUB) -> BudgetUse:
    query = UsageQuery(window, NOW - NOW % WINDOWS[window], principal=sub, now=now)
    return adapters.usage.uses(query).uses[0].budgets["usage"]


def test_no_more_than_the_limit_is_reserved(budgets: Budgets) -> None:
    """What fits is reserved, to the last token; what does not is told how every limit stands, and takes nothing."""
    assert budgets.reserve(call("a", 60), [DAY], NOW) is None
    assert budgets.reserve(call("b", 41), [DAY], NOW) == (Balance(DAY, 60, 60),)
    assert budgets.reserve(call("c", 40), [DAY], NOW) is None
    assert budgets.reserve(call("d", 1), [DAY], NOW) == (Balance(DAY, 100, 100),)


def test_what_was_taken_is_put_in_place_of_what_was_reserved(budgets: Budgets, adapters: Adapters) -> None:
    """A settled call counts as what it took, in every window; the rest is free for others."""
    one = call("a", 90)
    budgets.reserve(one, [DAY], NOW)
    assert used(adapters) == BudgetUse(0, 90)
    assert budgets.settle(one, {"usage": 30})
    assert {used(adapters, window) for window in WINDOWS} == {BudgetUse(30, 0)}
    assert budgets.reserve(call("b", 70), [DAY], NOW) is None


def test_more_than_was_reserved_is_charged(budgets: Budgets) -> None:
    """A call that took more than it was thought to is charged all of it, and the next one is refused."""
    one = call("a", 10)
    budgets.reserve(one, [DAY], NOW)
    budgets.settle(one, {"usage": 130})
    assert budgets.reserve(call("b", 1), [DAY], NOW) == (Balance(DAY, 130, 0),)


def test_a_call_is_settled_once(budgets: Budgets, adapters: Adapters) -> None:
    """The second settlement of a call changes nothing, and neither does one of a call that reserved nothing."""
    one = call("a", 50)
    budgets.reserve(one, [DAY], NOW)
    assert [budgets.settle(one, {"usage": amount}) for amount in (20, 0, 90)] == [True, False, False]
    assert not budgets.settle(call("b", 50), {"usage": 50})
    assert used(adapters) == BudgetUse(20, 0)


def test_a_call_reserves_once(budgets: Budgets, adapters: Adapters) -> None:
    """A reservation whose answer was lost may be repeated."""
    for _ in range(2):
        assert budgets.reserve(call("a", 60), [DAY], NOW) is None
    assert used(adapters) == BudgetUse(0, 60)


def test_the_date_of_prices_is_noted(budgets: Budgets, adapters: Adapters) -> None:
    """Where money is counted, the date of the last call's prices is noted in every window, and nowhere else."""
    for name, date in (("a", "2026-08-01"), ("b", "2026-11-14")):
        priced = call(name, 60)._replace(amounts={"usage": 60, "spend": 7}, prices=date)
        budgets.reserve(priced, [OF_MONEY], NOW)
    for window in WINDOWS:
        query = UsageQuery(window, NOW - NOW % WINDOWS[window], principal=SUB, now=NOW)
        [found] = adapters.usage.uses(query).uses
        assert found.budgets == {"usage": BudgetUse(0, 120), "spend": BudgetUse(0, 14, "2026-11-14")}
    budgets.settle(priced, {"usage": 1, "spend": 1})
    budgets.reserve(call("c", 1), [DAY], NOW)
    [found] = adapters.usage.uses(UsageQuery("day", NOW - NOW % WINDOWS["day"], principal=SUB, now=NOW)).uses
    assert found.budgets["spend"] == BudgetUse(1, 7, "2026-11-14")
    assert found.to_json()["budgets"] == {
        "usage": {"used": 1, "reserved": 61},
        "spend": {"used": 1, "reserved": 7, "prices": "2026-11-14"},
    }


def test_what_is_never_settled_counts_as_used(budgets: Budgets, adapters: Adapters) -> None:
    """What a call reserved that was never settled stays counted; past its deadline it counts as used."""
    budgets.reserve(call("a", 70), [DAY], NOW)
    assert used(adapters, now=NOW + HELD_SECONDS - 1) == BudgetUse(0, 70)
    later = NOW + HELD_SECONDS
    assert used(adapters, now=later) == BudgetUse(70, 0)
    assert budgets.reserve(call("b", 40, at=later), [DAY], later) == (Balance(DAY, 70, 0),)


def test_a_late_settlement_is_exact(budgets: Budgets, adapters: Adapters) -> None:
    """A call that is settled past its deadline, or past its window, is charged what it took, in its own window."""
    one = call("a", 70)
    budgets.reserve(one, [DAY], NOW)
    assert budgets.settle(one, {"usage": 5})
    assert used(adapters, now=NOW + 2 * HELD_SECONDS) == BudgetUse(5, 0)


def test_a_window_ends(budgets: Budgets) -> None:
    """A new window begins with nothing taken, whatever is still reserved in the one before; settling that changes nothing in it."""
    minute = BudgetLimit("usage", 100, "minute")
    one = call("a", 100, at=NOW + 59)
    assert budgets.reserve(one, [minute], NOW + 59) is None
    assert budgets.reserve(call("b", 60, at=NOW + 60), [minute], NOW + 60) is None
    assert budgets.settle(one, {"usage": 0})
    assert budgets.reserve(call("c", 41, at=NOW + 60), [minute], NOW + 60) == (Balance(minute, 60, 60),)


def test_every_limit_has_to_have_room(budgets: Budgets) -> None:
    """Limits of several windows and of all callers together hold at once, and a refused call takes nothing of any."""
    both = [DAY, OF_ALL]
    assert budgets.reserve(call("a", 90, shared=True), both, NOW) is None
    other = call("b", 80, f"{SUB}-2", shared=True)
    assert budgets.reserve(other, both, NOW) == (Balance(DAY, 0, 0), Balance(OF_ALL, 90, 90))
    assert budgets.reserve(other._replace(amounts={"usage": 60}), both, NOW) is None
    assert budgets.reserve(call("c", 1, shared=True), both, NOW) == (Balance(DAY, 90, 90), Balance(OF_ALL, 150, 150))


def test_both_kinds_are_counted_apart(budgets: Budgets) -> None:
    """Tokens and money have counters of their own, and one call reserves and settles both."""
    money = BudgetLimit("spend", 1_000, "day")
    one = call("a", 10)._replace(amounts={"usage": 10, "spend": 900})
    assert budgets.reserve(one, [DAY, money], NOW) is None
    second = one._replace(id="b", amounts={"usage": 10, "spend": 101})
    assert budgets.reserve(second, [DAY, money], NOW) == (Balance(DAY, 10, 10), Balance(money, 900, 900))
    budgets.settle(one, {"usage": 1, "spend": 2})
    assert budgets.reserve(second, [DAY, money], NOW) is None


def test_principals_and_grants_have_their_own(budgets: Budgets) -> None:
    """What one principal or grant has reserved is no other's."""
    assert budgets.reserve(call("a", 100), [DAY], NOW) is None
    assert budgets.reserve(call("b", 100, f"{SUB}-2"), [DAY], NOW) is None
    assert budgets.reserve(call("c", 100)._replace(grant="other"), [DAY], NOW) is None
