"""Budgets when DynamoDB goes wrong, and when many take at once: never exceeded, exact once all is settled, nothing lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from chalicelib.aws import budget_items, round_trip
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.budgets import DynamoBudgets
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.items import Item
from chalicelib.budget import BudgetLimit, Reservation
from chalicelib.errors import StateUncertain, Unavailable
from chalicelib.quota import EVERYBODY, Counter
from tests.contracts import dynamodb_adapters
from tests.contracts.samples import NOW, SUB
from tests.faulty_dynamodb import Door, Turn, door, error, from_the, hangs, loses_its_answer, serves, tables_behind

LIMITS = (BudgetLimit("usage", 100, "day"), BudgetLimit("usage", 150, "day", shared=True))
CALL = Reservation("a", "ci", SUB, NOW, {"usage": 60}, shared=True)
REQUESTS = len(budget_items.items(CALL))
THREADS, CALLS = 6, 8


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    """A door to DynamoDB."""
    with door() as one:
        yield one


@pytest.fixture
def tables(opened: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    """Empty tables behind it, whose answers nobody waits for long."""
    with tables_behind(opened) as made:
        monkeypatch.setattr(round_trip, "ROUND_TRIP_SECONDS", 0.5)
        yield made


def items(tables: Tables, call: Reservation = CALL) -> list[Item]:
    """The items of a call, as they are; past the door."""
    client = dynamodb_adapters.locked_moto()
    keys = [dict(one.key) for one in budget_items.items(call)]
    return [client.get_item(TableName=tables.counters, Key=key).get("Item", {}) for key in keys]


def taken(tables: Tables, principal: str, window: str = "day") -> int:
    """What is counted of a principal."""
    counter = Counter("usage", "ci", principal, window, NOW)
    key = budget_items.key_of(counter)
    found = dynamodb_adapters.locked_moto().get_item(TableName=tables.counters, Key=key).get("Item", {})
    return budget_items.taken(found, counter)


def test_a_call_is_in_every_item_of_its(opened: Door, tables: Tables) -> None:
    """An hour and a day, of its principal and of all: each has the amount and a mark, and after the settlement what it took."""
    budgets = DynamoBudgets(opened.edge_client, tables.counters)
    assert budgets.reserve(CALL, LIMITS, NOW) is None
    assert all(budget_items.is_marked(one, CALL) for one in items(tables))
    assert budgets.settle(CALL, {"usage": 20})
    assert not any(budget_items.is_marked(one, CALL) for one in items(tables))
    assert {taken(tables, whose, window) for whose in (SUB, EVERYBODY) for window in ("minute", "hour", "day")} == {20}


@pytest.mark.parametrize("which", range(1, REQUESTS + 1))
@pytest.mark.parametrize("fault", [loses_its_answer, error("InternalServerError", 500), hangs])
def test_a_reservation_that_fails_takes_nothing(opened: Door, tables: Tables, which: int, fault: object) -> None:
    """Whichever of its updates is lost, or its answer, a call that is not admitted keeps nothing of a budget."""
    budgets = DynamoBudgets(opened.edge_client, tables.counters)
    with opened.failing(from_the(which, fault, which)), pytest.raises(Unavailable):  # type: ignore[arg-type]  # a parameter
        budgets.reserve(CALL, LIMITS, NOW)
    assert (taken(tables, SUB), taken(tables, EVERYBODY)) == (0, 0)
    assert budgets.reserve(CALL._replace(id="b", amounts={"usage": 100}), LIMITS, NOW) is None


@pytest.mark.slow
def test_tables_that_stay_away_let_nobody_by(opened: Door, tables: Tables) -> None:
    """Where it cannot be given back either, what was taken stays counted: never more than the limit go on."""
    budgets = DynamoBudgets(opened.edge_client, tables.counters)
    with opened.failing(from_the(REQUESTS, hangs)), pytest.raises(Unavailable):
        budgets.reserve(CALL, LIMITS, NOW)
    assert (taken(tables, SUB), taken(tables, EVERYBODY)) == (60, 0)
    (balance, _) = budgets.reserve(CALL._replace(id="b"), LIMITS, NOW) or ()
    assert (balance.taken, balance.held) == (60, 60)


@pytest.mark.parametrize("which", range(1, REQUESTS + 1))
@pytest.mark.parametrize("fault", [loses_its_answer, error("InternalServerError", 500)])
def test_a_repeated_settlement_is_exact(opened: Door, tables: Tables, which: int, fault: object) -> None:
    """Whichever of its updates is lost, or its answer, a settlement that is repeated counts once, in every item."""
    budgets = DynamoBudgets(opened.edge_client, tables.counters)
    budgets.reserve(CALL, LIMITS, NOW)
    with opened.failing(from_the(which, fault, which)), pytest.raises(StateUncertain):  # type: ignore[arg-type]  # a parameter
        budgets.settle(CALL, {"usage": 25})
    for _ in range(2):
        budgets.settle(CALL, {"usage": 25})
    assert {taken(tables, whose, window) for whose in (SUB, EVERYBODY) for window in ("minute", "hour", "day")} == {25}


def test_what_it_holds_ends_with_its_window(opened: Door, tables: Tables) -> None:
    """DynamoDB removes a budget's items as long after their window as counters."""
    DynamoBudgets(opened.edge_client, tables.counters).reserve(CALL, LIMITS, NOW)
    kept = [int(one["expires_at"]["N"]) - NOW for one in items(tables)]
    assert kept == [3600 + 3 * 86400, 86400 + 35 * 86400] * 2


def _calls(budgets: DynamoBudgets, name: str, took: list[tuple[str, int]], highest: list[int]) -> None:
    chance, sub = random.Random(name), f"{SUB}-{int(name) % 3}"
    limits = (BudgetLimit("usage", 2_000, "day"), BudgetLimit("usage", 4_500, "day", shared=True))
    for number in range(CALLS):
        one = Reservation(f"{name}-{number}", "ci", sub, NOW, {"usage": chance.randint(1, 900)}, shared=True)
        balances = budgets.reserve(one, limits, NOW)
        if balances is None:
            amount = chance.randint(0, one.amounts["usage"])
            assert budgets.settle(one, {"usage": amount})
            took.append((sub, amount))
        else:
            highest += [one.taken - one.limit.amount for one in balances]


@pytest.mark.slow
def test_threads_never_exceed_a_budget_over_dynamodb(opened: Door, tables: Tables) -> None:
    """However many reserve and settle at once, no limit is exceeded, and the sums are exact at the end."""
    del opened
    took: list[tuple[str, int]] = []
    over: list[int] = []
    with dynamodb_adapters.patience():
        client = BotocoreClient(dynamodb_adapters.locked_moto())
        racing = [
            threading.Thread(target=_calls, args=(DynamoBudgets(client, tables.counters), str(number), took, over))
            for number in range(THREADS)
        ]
        for one in racing:
            one.start()
        for one in racing:
            one.join(120)
    assert len(took) > THREADS
    assert max(over, default=0) <= 0
    assert taken(tables, EVERYBODY) == sum(amount for _, amount in took)
    for sub in {sub for sub, _ in took}:
        assert taken(tables, sub) == sum(amount for whose, amount in took if whose == sub)


def test_who_finds_room_a_moment_later_gets_it(opened: Door, tables: Tables) -> None:
    """A call that another's passing reservation stood in the way of tries again, and one is refused that has no room."""
    budgets = DynamoBudgets(opened.edge_client, tables.counters)
    other = CALL._replace(id="b")
    assert budgets.reserve(other, LIMITS, NOW) is None
    settled = DynamoBudgets(BotocoreClient(dynamodb_adapters.locked_moto()), tables.counters)

    def settle_first(turn: Turn) -> None:
        if turn.operation == "BatchGetItem":
            settled.settle(other, {"usage": 0})
        serves(turn)

    with opened.failing(settle_first) as arrived:
        assert budgets.reserve(CALL, LIMITS, NOW) is None
    assert arrived.count("BatchGetItem") == 1
    assert taken(tables, SUB) == 60
