"""Many at once, in threads and in processes, over one store: limits are exact, a replay race has one winner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chalicelib.quota import Limit
from local.sqlite.state_file import StateFile
from tests.races import quotas, winners
from tests.races.acts import Call
from tests.races.quotas import Race
from tests.races.stores import SqliteStore
from tests.races.together import THREADS, Crew, in_threads

if TYPE_CHECKING:
    from chalicelib.aws.dynamodb import Tables


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """4 processes."""
    made = Crew()
    yield made
    made.dismiss()


def on(store: str, together: str, *values: object, slow: bool = False) -> object:
    """Return one case: where, by whom, and with what else."""
    slow = slow or (store == "sqlite" and together != "few threads")
    marks = [pytest.mark.slow] * slow + [pytest.mark.ministack] * (store != "sqlite")
    return pytest.param(store, together, *values, marks=marks)


FEW = 16
"""Threads that `make test` has time for: 64 in one process mostly wait for each other, and processes take long to start."""
WAYS = [
    ("sqlite", "few threads"),
    ("sqlite", "threads"),
    ("sqlite", "processes"),
    ("ministack", "threads"),
    ("ministack", "processes"),
]
WAYS_OF_A_CALL = [*WAYS, ("edge client", "threads"), ("edge client", "processes")]
"""ministack also through the edge's own client, one for each thread."""
EACH_WAY = pytest.mark.parametrize(("store", "together"), [on(*way) for way in WAYS])
EACH_WAY_OF_A_CALL = pytest.mark.parametrize(("store", "together"), [on(*way) for way in WAYS_OF_A_CALL])


def each_way(
    *limits: int, slow: bool = False, ways: Sequence[tuple[str, str]] = WAYS_OF_A_CALL
) -> pytest.MarkDecorator:
    """Return the cases of every store, in threads and in processes, at each limit and, but for the edge client, at 1,000.

    A limit of 200 has 64 threads come back for more five times each, and 1,000 sixteen times: `make test-slow` has time
    for those.
    """
    many = {way: limits if way[0] == "edge client" else (*limits, 1000) for way in ways}
    cases = [on(*way, limit, slow=slow or limit > 100) for way, of_way in many.items() for limit in of_way]
    return pytest.mark.parametrize(("store", "together", "limit"), cases)


@pytest.fixture
def race(request: pytest.FixtureRequest, tmp_path: Path, store: str, together: str) -> Race:
    """An empty store, and 64 threads or 4 processes."""
    threads = FEW if together == "few threads" else THREADS
    act = request.getfixturevalue("crew").together if together == "processes" else partial(in_threads, threads=threads)
    if store == "sqlite":
        StateFile.create(tmp_path / "state.db")
        return Race(SqliteStore(tmp_path / "state.db"), tmp_path, act)
    from tests.races.dynamo_store import DynamoStore  # noqa: PLC0415  it brings botocore

    tables: Tables = request.getfixturevalue("tables")
    made = DynamoStore.over(request.getfixturevalue("endpoint"), tables, edge_client=store == "edge client")
    return Race(made, tmp_path, act)


@each_way(1, 7, 200)
def test_calls_are_exact(race: Race, limit: int) -> None:
    """Exactly the limit is admitted, and exactly the difference once the limit is raised."""
    quotas.calls_are_exact(race, limit)


@each_way(1, 7, 200, ways=WAYS)
def test_tokens_are_exact(race: Race, limit: int) -> None:
    """Exactly the limit is issued, and exactly the difference once the limit is raised."""
    quotas.tokens_are_exact(race, limit)


@each_way(1, 7, 200, slow=True)
def test_a_total_is_exact(race: Race, limit: int) -> None:
    """All principals of a grant together get exactly its total."""
    quotas.a_total_is_exact(race, limit)


@EACH_WAY_OF_A_CALL
@pytest.mark.parametrize("total", [False, True])
def test_a_lowered_limit_is_exact(race: Race, total: bool) -> None:  # noqa: FBT001  a case
    """A limit lowered within its window counts all that were admitted before, a grant's total too."""
    quotas.a_lowered_limit_is_exact(race, total=total)


@EACH_WAY_OF_A_CALL
def test_three_windows_are_exact(race: Race) -> None:
    """The limits of a minute, an hour and a day are exact at once."""
    quotas.several_limits_are_exact(race)


@pytest.mark.ministack
@pytest.mark.parametrize(("store", "together"), [("ministack", "threads"), ("edge client", "threads")])
@pytest.mark.parametrize("_time", range(12))
def test_limits_in_two_items_are_exact(race: Race, _time: int) -> None:
    """Two limits that are counted in two items of DynamoDB are exact, each time."""
    race.put_in_force(calls=(Limit(7, "minute"), Limit(7, "day")))
    assert in_threads(race.store, Call(race.directory, (race.token(),)), 64)["admitted"] == 7


@EACH_WAY_OF_A_CALL
def test_own_limit_and_total_are_exact(race: Race) -> None:
    """A principal's own limit and its grant's total are exact at once."""
    quotas.own_limit_and_total_are_exact(race)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "together", "rule"),
    [on(*way, quotas.calls_never_exceed_when_the_store_fails) for way in WAYS_OF_A_CALL]
    + [on(*way, quotas.tokens_never_exceed_when_the_store_fails) for way in WAYS],
)
@pytest.mark.parametrize("limit", [7, 100])
def test_a_failing_store_never_exceeds(race: Race, rule: Callable[[Race, int], None], limit: int) -> None:
    """A store that fails halfway never admits more than the limit."""
    rule(race, limit)


@EACH_WAY
def test_a_replay_race_has_one_winner(race: Race) -> None:
    """Of many exchanges of one identity token one gets a token; the others are refused and audited as replays."""
    winners.a_replay_race_has_one_winner(race)


@EACH_WAY
def test_retries_all_get_one_token(race: Race) -> None:
    """Many exchanges with one Idempotency-Key all get the same token."""
    winners.retries_all_get_one_token(race)


@EACH_WAY
def test_of_many_applies_one_wins(race: Race) -> None:
    """Of many who plan against one version of the policy one puts theirs in force."""
    winners.of_many_applies_one_wins(race)


@pytest.mark.slow
@EACH_WAY
def test_of_many_first_uses_one_binds(race: Race) -> None:
    """Of many unique ids at a name's first use one is bound to it."""
    winners.of_many_first_uses_one_binds(race)
