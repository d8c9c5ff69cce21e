"""What becomes of answers' usage when DynamoDB goes wrong: nothing counts twice, and what was not added is left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from chalicelib.aws import answer_items, round_trip
from chalicelib.aws.answer_usage import ADD_SECONDS, DynamoAnswerUsage
from chalicelib.aws.dynamodb import Tables, read_query
from chalicelib.aws.edge_client import EdgeClient
from chalicelib.aws.items import text
from chalicelib.aws.round_trip import CONNECTIONS, Steps
from chalicelib.quota import COUNTERS_KEPT
from chalicelib.usage import Answered, ModelUse, NotAdded, UsageQuery
from tests.contracts.samples import NOW, SUB
from tests.faulty_dynamodb import Door, door, error, from_the, hangs, loses_its_answer, tables_behind

DAY = UsageQuery("day", NOW)


def row(model: str = "m", principal: str = SUB) -> Answered:
    return Answered(principal, "ci", "openai", NOW, ModelUse(model, 1, 0, 10, 5, 0))


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


@pytest.fixture
def store(opened: Door, tables: Tables) -> DynamoAnswerUsage:
    """A store that has listed the model `m`."""
    made = DynamoAnswerUsage(opened.edge_client, tables.counters)
    assert made.add([row()]) == NotAdded()
    return made


def counted(tables: Tables) -> dict[str, int]:
    """How many answers of each model were counted."""
    found = read_query(tables, tables.counters, answer_items.query("ci", SUB, DAY))
    return {one.model: one.answers for one in answer_items.uses(found, DAY)}


def test_a_lost_answer_counts_at_most_once(opened: Door, tables: Tables, store: DynamoAnswerUsage) -> None:
    """What may have been added is not added again."""
    with opened.failing(from_the(1, loses_its_answer)) as arrived:
        missed = store.add([row()])
    assert (missed.left, missed.uncertain, arrived) == ((), 1, ["UpdateItem"])
    assert counted(tables) == {"m": 2}


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_what_is_refused_is_left(opened: Door, tables: Tables, store: DynamoAnswerUsage, code: str) -> None:
    """What DynamoDB refuses was not added, and is added later, once."""
    with opened.failing(error(code)):
        missed = store.add([row()])
    assert missed == NotAdded((row(),), 0, code)
    assert store.add(missed.left) == NotAdded()
    assert counted(tables) == {"m": 2}


def test_what_is_malformed_is_not_tried_for_ever(opened: Door, store: DynamoAnswerUsage) -> None:
    """A row that DynamoDB will never take is given up, and said."""
    with opened.failing(error("ValidationException")):
        assert store.add([row("n"), row()]) == NotAdded((), 2, "ValidationException")


@pytest.mark.slow
def test_tables_that_hang_lose_little(opened: Door, tables: Tables, store: DynamoAnswerUsage) -> None:
    """What was under way when tables began to hang may be lost, and nothing that is to be added after that."""
    with opened.failing(hangs):
        assert store.add([row()]) == NotAdded((), 1, round_trip.TIMED_OUT)
        assert store.add([row(), row()]) == NotAdded((row(), row()), 0, round_trip.TIMED_OUT)
    assert store.add([row(), row()]) == NotAdded()
    assert counted(tables) == {"m": 3}


def test_without_credentials_all_is_left(opened: Door, tables: Tables) -> None:
    """Nothing is sent without credentials, so nothing is lost."""
    client = EdgeClient({**opened.edge_client._endpoints}, lambda: None)
    with opened.failing(hangs) as arrived:
        assert DynamoAnswerUsage(client, tables.counters).add([row()]) == NotAdded((row(),), 0, "NoCredentials")
    assert arrived == []


def test_all_of_a_day_ends_together(tables: Tables, store: DynamoAnswerUsage) -> None:
    """DynamoDB may remove an hour once its whole day may go, since a day is read from its hours."""
    store.add([row()._replace(minute=NOW + 3 * 3600)])
    partition = {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": answer_items.partition("ci", SUB)}},
    }
    items = read_query(tables, tables.counters, partition)
    assert sorted(text(one, "sk").partition("#")[0] for one in items) == ["hour", "hour", "models"]
    assert {one["expires_at"]["N"] for one in items} == {str(NOW + 86400 + COUNTERS_KEPT["hour"])}


class Client:
    """A client that does everything at once, and notes how many requests each round trip has."""

    def __init__(self) -> None:
        self.round_trips: list[int] = []

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`."""
        del seconds, undo
        self.round_trips.append(len(calls))
        for one in calls:
            next(one)
            with pytest.raises(StopIteration):
                one.send({})
        return [None for _ in calls]


def test_much_at_once_takes_its_time_and_no_more() -> None:
    """However many rows there are, no round trip needs more than the connections, and after some seconds the rest is left."""
    rows = [row(principal=f"sub-{number:04}") for number in range(1_000)]
    client, clock = Client(), itertools.count(0, ADD_SECONDS / 10)
    missed = DynamoAnswerUsage(client, "counters", lambda: next(clock)).add(rows)
    added = sum(client.round_trips) // 2
    assert max(client.round_trips) <= CONNECTIONS // 2
    assert (missed.left, missed.uncertain) == (tuple(rows[added:]), 0)
    assert 0 < added < len(rows)
