"""Many at once, threads and processes, on the three tables: the rules of tests/system/test_concurrency.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chalicelib.aws.dynamodb import Tables
from chalicelib.quota import Limit
from tests.integration import ministack
from tests.races import quotas, winners
from tests.races.acts import Call
from tests.races.dynamo_store import DynamoStore
from tests.races.quotas import Race
from tests.races.together import Crew, in_threads

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LIMITS = (1, 7, 1000)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """4 processes."""
    made = Crew()
    yield made
    made.dismiss()


@pytest.fixture(params=["threads", "processes"])
def race(request: pytest.FixtureRequest, tmp_path: Path, crew: Crew, endpoint: str, tables: Tables) -> Race:
    """Three tables, and 64 threads or 4 processes."""
    together = crew.together if request.param == "processes" else in_threads
    return Race(DynamoStore.of(endpoint, tables), tmp_path, together)


@pytest.mark.parametrize("limit", LIMITS)
def test_calls_are_admitted_exactly_to_the_limit_and_when_it_is_raised_to_the_new_one(race: Race, limit: int) -> None:
    quotas.calls_are_exact(race, limit)


@pytest.mark.parametrize("limit", LIMITS)
def test_tokens_are_issued_exactly_to_the_limit_and_when_it_is_raised_to_the_new_one(race: Race, limit: int) -> None:
    quotas.tokens_are_exact(race, limit)


@pytest.mark.parametrize("limit", [1, 7, 200, pytest.param(1000, marks=pytest.mark.slow)])
def test_all_principals_of_a_grant_together_get_exactly_its_total(race: Race, limit: int) -> None:
    quotas.a_total_is_exact(race, limit)


def test_the_limits_of_a_minute_an_hour_and_a_day_are_exact_at_once(race: Race) -> None:
    quotas.several_limits_are_exact(race)


def test_two_limits_that_are_counted_in_two_items_are_exact_each_time(
    endpoint: str, dynamodb: DynamoDBClient, tmp_path: Path
) -> None:
    admitted = []
    for _ in range(12):
        with ministack.fresh_tables(dynamodb) as tables:
            race = Race(DynamoStore.of(endpoint, tables), tmp_path, in_threads)
            race.put_in_force(calls=(Limit(7, "minute"), Limit(7, "day")))
            admitted.append(in_threads(race.store, Call(tmp_path, (race.token(),)), 64)["admitted"])
    assert admitted == [7] * 12


def test_a_limit_of_one_s_own_and_a_total_are_exact_at_once(race: Race) -> None:
    quotas.own_limit_and_total_are_exact(race)


@pytest.mark.parametrize("limit", [7, 100])
@pytest.mark.parametrize(
    "rule", [quotas.calls_never_exceed_when_the_store_fails, quotas.tokens_never_exceed_when_the_store_fails]
)
def test_a_store_that_fails_halfway_never_admits_more_than_the_limit(
    race: Race, rule: Callable[[Race, int], None], limit: int
) -> None:
    rule(race, limit)


def test_a_replay_race_has_one_winner(race: Race) -> None:
    winners.a_replay_race_has_one_winner(race)


def test_retries_with_one_idempotency_key_all_get_one_token(race: Race) -> None:
    winners.retries_all_get_one_token(race)


def test_of_many_who_plan_against_one_version_one_wins(race: Race) -> None:
    winners.of_many_applies_one_wins(race)


def test_of_many_first_uses_of_one_name_one_binds_it(race: Race) -> None:
    winners.of_many_first_uses_one_binds(race)
