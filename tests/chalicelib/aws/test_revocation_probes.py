"""The measurements of several over the same tables: whose turn it is, and what is shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.admin.revocation_probe import RevocationProbe
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.revocation_probes import PARTITION, DynamoKept, DynamoRevocationProbes
from chalicelib.errors import StateUnavailable
from tests.faulty_dynamodb import Door, door, error, tables_behind
from tests.parts import NOW

_PLACES = (f"gateways in region-{number}" for number in itertools.count())
HELD = RevocationProbe("here", NOW, "held", 0.004, 0)


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Door, Tables]]:
    with door() as one, tables_behind(one) as tables:
        yield one, tables


@pytest.fixture
def tables(opened: tuple[Door, Tables]) -> Tables:
    return opened[1]


def test_one_of_many_gets_the_turn(tables: Tables) -> None:
    """Of eight that ask at the same time one may measure, and each period one again."""
    where = next(_PLACES)
    all_of_them = [DynamoKept(tables, where, 300) for _ in range(8)]
    for now in (NOW, NOW + 300, NOW + 600):
        with ThreadPoolExecutor(8) as pool:
            turns = list(pool.map(lambda one, at=now: one.begin(at), all_of_them))
        assert turns.count(True) == 1


@pytest.mark.parametrize(("later", "is_due"), [(0, False), (269, False), (270, True), (-299, False), (-300, True)])
def test_a_turn_lasts_a_period(tables: Tables, later: int, *, is_due: bool) -> None:
    """A turn holds for its period, less what clocks differ by; one of a clock that is far ahead is not waited for."""
    where = next(_PLACES)
    assert DynamoKept(tables, where, 300).begin(NOW)
    assert DynamoKept(tables, where, 300).begin(NOW + later) is is_due


def test_who_lost_its_turn_keeps_nothing(tables: Tables) -> None:
    """A measurement that ends after another began replaces none: the result is of who has the turn."""
    where = next(_PLACES)
    slow, quick = DynamoKept(tables, where, 300), DynamoKept(tables, where, 300)
    assert slow.begin(NOW)
    assert quick.begin(NOW + 300)
    quick.keep(HELD._replace(where=where, at=NOW + 300))
    slow.keep(HELD._replace(where=where, outcome="never"))
    found = {one.where: one for one in DynamoRevocationProbes(tables).revocation_probes()}
    assert found[where] == HELD._replace(where=where, at=NOW + 300)


def test_a_turn_without_a_result_shows_the_last(tables: Tables) -> None:
    """While one measures, the last result is shown; before there is any, none."""
    where = next(_PLACES)
    kept, probes = DynamoKept(tables, where, 300), DynamoRevocationProbes(tables)
    assert kept.begin(NOW)
    assert where not in {one.where for one in probes.revocation_probes()}
    kept.keep(HELD._replace(where=where))
    assert kept.begin(NOW + 300)
    assert HELD._replace(where=where) in probes.revocation_probes()


def test_what_nobody_measures_is_deleted(tables: Tables) -> None:
    """An item says when it may be deleted, 30 days after its last turn."""
    where = next(_PLACES)
    DynamoKept(tables, where, 300).begin(NOW)
    key = {"pk": {"S": PARTITION}, "sk": {"S": where}}
    item = tables.client.get_item(TableName=tables.counters, Key=key)["Item"]
    assert item["expires_at"] == {"N": str(NOW + 30 * 86400)}


def test_tables_out_of_reach_give_no_turn(opened: tuple[Door, Tables]) -> None:
    """Tables that do not answer give nobody a turn; that is not told from any other outage."""
    one, tables = opened
    with one.failing(error("InternalServerError", 500)), pytest.raises(StateUnavailable):
        DynamoKept(tables, next(_PLACES), 300).begin(NOW)
