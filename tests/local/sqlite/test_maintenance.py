from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib import quota
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.maintenance import SWEEP_SECONDS, Upkeep
from local.sqlite.state_file import StateFile

NOW = 1_800_000_000


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    made = StateFile.create(tmp_path / "state.db")
    yield made
    made.close()


def rows(state: StateFile, table: str) -> int:
    with state.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  the test's own


def test_a_counting_connection_leaves_checkpoints_to_the_upkeep(state: StateFile) -> None:
    counting = StateFile(state.path, durable=False)
    with counting.reading() as connection:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    counting.close()


def test_counters_are_kept_for_usage_and_then_removed(state: StateFile) -> None:
    SqliteEdgeState(state).count(quota.counters("calls", "app", "p", NOW))
    upkeep = Upkeep(state)
    upkeep.run(NOW + quota.COUNTERS_KEPT)
    assert rows(state, "counters") == 3
    upkeep.run(NOW + quota.COUNTERS_KEPT + 2 * 86400 + SWEEP_SECONDS)
    assert rows(state, "counters") == 0


def test_replay_locks_go_only_once_they_have_run_out(state: StateFile) -> None:
    with state.writing() as connection:
        connection.execute("INSERT INTO locks VALUES ('a', ?, '', '', '{}'), ('b', ?, '', '', '{}')", (NOW - 1, NOW))
    Upkeep(state).run(NOW)
    assert rows(state, "locks") == 1


def test_a_state_file_that_is_away_stops_nothing(state: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep(StateFile(state.path))
    state.path.rename(state.path.with_name("away"))
    with caplog.at_level(logging.WARNING, "keybroker"):
        upkeep.run(NOW)
    assert "state_unavailable" in caplog.text
    state.path.with_name("away").rename(state.path)
    upkeep.run(NOW + SWEEP_SECONDS)
