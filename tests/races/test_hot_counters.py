"""Many calls at once on counters whose items take no more now and then: never one too many, little is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from chalicelib import quota
from chalicelib.aws.dynamodb import Tables
from chalicelib.quota import Limit
from tests.contracts import dynamodb_adapters
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SUB
from tests.faulty_dynamodb import Door, door, tables_behind
from tests.races.acts import Call, FaultyCall
from tests.races.hot_store import SIZE, SLICES, HotStore, Rush
from tests.races.quotas import SUBJECTS, Race
from tests.races.together import Crew, in_threads

pytestmark = pytest.mark.slow
LIMIT, TRIES, THREADS = 40, 80, 12


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    """A door in front of moto, which is started before the processes that come to it."""
    with door() as one:
        yield one


@pytest.fixture(scope="module")
def crew(opened: Door) -> Iterator[Crew]:  # noqa: ARG001  it comes first
    """4 processes."""
    made = Crew()
    yield made
    made.dismiss()


class Hot(Race):
    """A race at that door; the test itself goes past it, where nothing waits."""

    @contextmanager
    def open(self) -> Iterator[Adapters]:
        """Give adapters to the test itself."""
        store = cast("HotStore", self.store)
        tables = Tables(dynamodb_adapters.locked_moto(), store.control, store.counters, store.ledger)
        with store.small():
            yield dynamodb_adapters.over(tables)

    def missing(self, who: str = SUB) -> int:
        """Return how many numbers of the day the item has handed out that nobody took."""
        counters = quota.counters("calls", "ci", who, NOW)
        with self.open() as adapters:
            return adapters.edge_state.taken(counters)[counters[2]] - adapters.counted(counters[2])[0]


@pytest.fixture
def race(request: pytest.FixtureRequest, opened: Door, tmp_path: Path, together: str, edge: str) -> Iterator[Hot]:
    """Empty tables; 12 threads, or 4 processes of 4."""
    act = request.getfixturevalue("crew").together if together == "processes" else partial(in_threads, threads=THREADS)
    with tables_behind(opened) as tables:
        lean, old = edge in ("lean", "old and lean"), edge.startswith("old")
        url = opened.client.meta.endpoint_url
        yield Hot(HotStore(url, tables.control, tables.counters, tables.ledger, lean, old), tmp_path, act)


EACH = pytest.mark.parametrize(
    ("together", "edge"), [("threads", "botocore"), ("threads", "old and lean"), ("processes", "lean")]
)
ONE = pytest.mark.parametrize(("together", "edge"), [("threads", "lean")])


def rush(race: Hot, opened: Door, tries: int, rush: Rush, *subjects: str) -> int:
    """Make calls while items are throttled; return how many were admitted."""
    tokens = tuple(race.token(one) for one in subjects or SUBJECTS[:1])
    with opened.failing(rush):
        said = race.together(race.store, Call(race.directory, tokens), tries)
    assert set(said) <= {"admitted", "quota_calls"}
    return said["admitted"]


@EACH
def test_a_rush_never_exceeds(race: Hot, opened: Door) -> None:
    """However many are throttled, no more than the limit are admitted, and all but what lies in slices or lost a race."""
    race.put_in_force(calls=(Limit(LIMIT, "day"),))
    done = rush(race, opened, TRIES, Rush(0.6))
    taken, _ = race.counted("calls", "build-1", window="day")
    assert done <= LIMIT
    assert taken >= done, "what lost a race is counted as taken"
    assert taken + race.missing() >= LIMIT
    assert race.missing() <= SLICES * SIZE


@EACH
def test_exactly_the_limit_without_a_rush(race: Hot, opened: Door) -> None:
    """Where nothing was throttled, exactly the limit is admitted."""
    race.put_in_force(calls=(Limit(LIMIT, "day"),))
    assert rush(race, opened, TRIES, Rush(0)) == LIMIT
    assert race.missing() == 0


@EACH
def test_limits_that_change_in_a_rush(race: Hot, opened: Door) -> None:
    """A limit that is raised, lowered, and comes back in the middle of a rush counts all that were admitted before."""
    done = 0
    for limit in (LIMIT, LIMIT + 25, LIMIT, LIMIT + 10, LIMIT + 25):
        race.put_in_force(calls=(Limit(limit, "day"),))
        more = rush(race, opened, 40, Rush(0.6))
        assert done + more <= max(limit, done)
        done += more


@ONE
def test_three_windows_in_a_rush(race: Hot, opened: Door) -> None:
    """The limits of a minute, an hour and a day hold at once."""
    race.put_in_force(calls=(Limit(LIMIT, "minute"), Limit(LIMIT - 2, "hour"), Limit(LIMIT + 1, "day")))
    assert LIMIT - 2 - 4 * SLICES * SIZE <= rush(race, opened, TRIES, Rush(0.6)) <= LIMIT - 2


@ONE
def test_a_total_in_a_rush(race: Hot, opened: Door) -> None:
    """All principals of a grant together never get more than its total, which each of them alone could use up."""
    race.put_in_force(calls=(Limit(LIMIT, "day"),), total=LIMIT)
    done = rush(race, opened, TRIES, Rush(0.6), *SUBJECTS)
    assert done <= LIMIT
    taken, _ = race.counted("calls", quota.EVERYBODY, window="day")
    assert taken + race.missing(quota.EVERYBODY) >= LIMIT


@ONE
def test_answers_that_are_lost_in_a_rush(race: Hot, opened: Door) -> None:
    """Calls that die while they fetch a lot, take from it or give back, cost the caller, not the limit."""
    race.put_in_force(calls=(Limit(LIMIT, "day"),))
    assert 0 < rush(race, opened, TRIES, Rush(0.6, dies=0.1)) <= LIMIT


@ONE
def test_edges_that_fail_in_a_rush(race: Hot, opened: Door) -> None:
    """Edges that fail between counting and giving back admit no more either."""
    race.put_in_force(calls=(Limit(LIMIT, "day"),))
    with opened.failing(Rush(0.6)):
        said = race.together(race.store, FaultyCall(race.directory, (race.token(),)), TRIES)
    lost = said["after_wave"] + said["before_give_back"]
    assert lost > 0
    assert said["admitted"] <= LIMIT
    assert race.counted("calls", "build-1", window="day")[0] >= said["admitted"]
