"""How many refused calls the state file keeps, and of whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.edge.refused_calls import KEPT_SECONDS, RefusedCall
from local.sqlite import refused_calls
from local.sqlite.refused_calls import SqliteRefusedCalls
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import sweep
from tests.parts import NOW


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    made = StateFile.create(tmp_path / "state.db")
    yield made
    made.close()


def call(number: int, principal: str = "", at: int = NOW) -> RefusedCall:
    return RefusedCall(at, f"{principal}{number}", "exp_past", 401, principal=principal)


def kept(state: StateFile) -> list[str]:
    with state.reading() as connection:
        return [one for (one,) in connection.execute("SELECT request_id FROM refused_calls ORDER BY seq")]


def test_a_flood_hides_no_other(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls a stranger, or one principal, has refused, another's stays to be found."""
    monkeypatch.setattr(refused_calls, "MOST_OF_ONE", 3)
    calls = SqliteRefusedCalls(state)
    calls.keep([call(1, "ada")])
    for number in range(20):
        calls.keep([call(number), call(number, "eve")])
    assert kept(state) == ["ada1", "17", "eve17", "18", "eve18", "19", "eve19"]


def test_all_together_are_bounded(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many principals the newest calls are kept."""
    monkeypatch.setattr(refused_calls, "MOST", 5)
    calls = SqliteRefusedCalls(state)
    for number in range(9):
        calls.keep([call(number, f"p{number}-")])
    assert kept(state) == [f"p{number}-{number}" for number in range(4, 9)]


def test_a_day_old_is_removed(state: StateFile) -> None:
    """What is older than a day is not in the file any more, whether or not calls are refused since."""
    SqliteRefusedCalls(state).keep([call(1, at=NOW - KEPT_SECONDS - 1), call(2)])
    for _ in sweep(state, NOW):
        pass
    assert kept(state) == ["2"]
