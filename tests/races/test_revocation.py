"""Revocations raced by callers in three processes whose clocks are a minute apart, over one state file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chalicelib.revocation import SCOPES
from local.sqlite.state_file import WAIT_MS, StateFile
from tests.races.course import ROUNDS, Course
from tests.races.processes import course_over
from tests.races.stores import SqliteStore
from tests.races.summary import NUMBERS


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """Three processes over a state file."""
    directory = tmp_path_factory.mktemp("races")
    StateFile.create(directory / "state.db")
    with course_over(SqliteStore(directory / "state.db", patience=WAIT_MS), directory) as made:
        yield made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [min(ROUNDS, 2), pytest.param(ROUNDS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_revoked_is_admitted(
    course: Course, scope: str, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    """Once a revocation is acknowledged, nothing revoked is admitted, and its earlier tokens never are again."""
    tally = course.run(scope, rounds)
    record_property(NUMBERS, f"SQLite, 3 processes: {tally.line()}")
    assert tally.wrongs() == {}
