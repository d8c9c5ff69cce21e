"""Two worker processes over HTTP: revocations raced, limits exact, one winner of a replay race."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.revocation import SCOPES
from tests.contracts import samples
from tests.races.course import ROUNDS, Course
from tests.races.http_field import POLICY, course_over_http
from tests.races.summary import NUMBERS
from tests.running import Answer, Running, start

pytestmark = pytest.mark.slow  # two workers are started, and pressed on

_THREADS = 16
_PATIENCE = 20.0


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Running]:
    """Keybroker with two worker processes."""
    with start("--workers", "2") as one:
        yield one


@pytest.fixture(scope="module")
def raced() -> Iterator[Running]:
    """Another one, whose policy has no limit that a race could meet."""
    with start("--workers", "2", policy=POLICY) as one:
        yield one


@pytest.fixture
def course(raced: Running, scope: str) -> Iterator[Course]:
    """Threads that call it, as a repository of their own for each scope."""
    with course_over_http(raced, f"741{SCOPES.index(scope)}") as made:
        yield made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_revoked_is_admitted(
    course: Course, scope: str, record_property: Callable[[str, object], None]
) -> None:
    """Once a revocation is acknowledged, nothing revoked is admitted, and its earlier tokens never are again."""
    tally = course.run(scope, max(3, min(6, ROUNDS // 10)))
    record_property(NUMBERS, f"HTTP, 2 workers: {tally.line()}")
    assert tally.wrongs() == {}


def _decided(act: Callable[[], Answer]) -> Answer:
    ends = time.monotonic() + _PATIENCE
    while (answer := act()).status == 503 and time.monotonic() < ends:
        pass
    return answer


def _together(act: Callable[[], Answer], times: int) -> list[Answer]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda _: _decided(act), range(times)))


def test_two_workers_admit_exactly_the_limit(two_workers: Running) -> None:
    token = two_workers.token("7401", owner="7")
    statuses = Counter(one.status for one in _together(lambda: two_workers.complete(token), 32))
    assert statuses == {200: 5, 429: 27}


def test_two_workers_issue_exactly_the_limit(two_workers: Running) -> None:
    waiting = [two_workers.mint("7402", repository_owner_id="7") for _ in range(16)]
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(lambda one: _decided(lambda: two_workers.exchange(one)), waiting))
    assert Counter(one.status for one in answers) == {200: 3, 429: 13}
    assert {one.json["error"] for one in answers if one.status == 429} == {"quota_exceeded"}


def test_a_replay_race_has_one_winner(two_workers: Running) -> None:
    subject_token = two_workers.mint("7403")
    answers = _together(lambda: two_workers.exchange(subject_token), 24)
    assert Counter(one.status for one in answers) == {200: 1, 400: 23}
    assert {one.json["error"] for one in answers if one.status == 400} == {"invalid_grant"}
    assert _issued(two_workers, "7403") == 1


@pytest.mark.slow
def test_retries_with_one_idempotency_key_all_get_one_token(two_workers: Running) -> None:
    subject_token, key = two_workers.mint("7404"), "k" * 32
    answers = _together(lambda: two_workers.exchange(subject_token, idempotency_key=key), 24)
    assert {one.status for one in answers} == {200}
    assert len({samples.jti_of(one.json["access_token"]) for one in answers}) == 1
    assert _issued(two_workers, "7404") == 1


def _issued(running: Running, repository_id: str) -> int:
    found = running.administer(
        "GET", f"/admin/audit?kind=token.issued&limit=200&principal={running.sub(repository_id).replace('|', '%7C')}"
    )
    return len(found.json["items"])
