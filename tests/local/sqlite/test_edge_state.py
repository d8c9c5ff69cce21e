from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.edge.state import Snapshot, Wanted
from chalicelib.errors import StateUnavailable
from chalicelib.quota import EVERYBODY, Counter, Limit, counters
from chalicelib.revocation import RevocationTarget
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import WAIT_MS, StateFile
from tests.contracts import samples


def test_a_number_is_given_back_though_another_writes(kept: StateFile) -> None:
    """A refused call gives its number back even if another writes for longer than a call waits."""
    mine = samples.calls()
    SqliteEdgeState(kept).count(mine)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(kept.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            held.set()
            let_go.wait(3 * WAIT_MS / 1000)
            other.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    SqliteEdgeState(kept).give_back(mine, "a_test")
    holder.join()
    taken: dict[Counter, int] = dict(SqliteEdgeState(kept).taken(mine))
    assert set(taken.values()) == {0}


def wanted(principal: str, jti: str = "token-1", *, shared: bool = False, now: int = samples.NOW) -> Wanted:
    own = {"principal": RevocationTarget("principal", principal), "token": RevocationTarget("token", jti)}
    of_all = counters("calls", "ci", EVERYBODY, now) if shared else ()
    return Wanted({**samples.SIX, **own}, counters("calls", "ci", principal, now), of_all)


@pytest.mark.parametrize(("calls", "total"), [(100, 100), (4, 100), (100, 3), (3, 4), (1, 1)])
def test_several_calls_are_counted_as_one_after_the_other(tmp_path: Path, calls: int, total: int) -> None:
    """What a group finds and counts is what its calls would in turn: several principals, minutes, totals, limits."""
    group = [
        *(wanted(principal, shared=shared == "1") for principal, shared in zip("abaacab", "0101101", strict=True)),
        *(wanted(f"p-{number}", f"token-{number}", now=samples.NOW + 60 * number) for number in range(9)),
        wanted("a", shared=True, now=samples.NOW + 60),
        wanted("a", shared=True),
    ]
    files = [StateFile.create(tmp_path / name) for name in ("one.db", "two.db")]
    for one in files:
        limited = samples.grant(calls=(Limit(calls, "day"),))._replace(total_limits=(Limit(total, "hour"),))
        samples.put_in_force(SqliteControl(one), limited)
    together, alone = map(SqliteEdgeState, files)
    for _ in range(3):
        found = together.read_and_count_all(group)
        assert found == [alone.read_and_count(*one) for one in group]
        every = tuple({counter: None for one in group for counter in one.counters + one.total})
        assert together.taken(every) == alone.taken(every)
    for one in files:
        one.close()


def test_a_call_beyond_a_limit_is_in_nobodys_way(kept: StateFile) -> None:
    """Whoever is beyond its own limit takes nothing of a grant's total, not even until the call is given back."""
    samples.put_in_force(
        SqliteControl(kept), samples.grant(calls=(Limit(1, "day"),))._replace(total_limits=(Limit(2, "day"),))
    )
    state = SqliteEdgeState(kept)
    own, other = wanted("a", shared=True), wanted("b", shared=True)
    assert [state.read_and_count(*own).held for _ in range(5)] == [True, False, False, False, False]
    last = state.read_and_count(*other)
    assert (last.held, last.numbers["day"], last.total["day"]) == (True, 1, 2)
    state.give_back(own.counters + own.total, "quota_calls", held=False)
    assert set(state.taken(own.counters).values()) == {1}
    assert set(state.taken(own.total).values()) == {2}


def test_a_group_that_cannot_be_written_counts_nobody(kept: StateFile) -> None:
    """While another writes, each call of a group is told so, and none is counted."""
    with closing(sqlite3.connect(kept.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = SqliteEdgeState(kept).read_and_count_all([wanted("a"), wanted("b")])
        other.execute("ROLLBACK")
    assert [type(one) for one in found] == [StateUnavailable] * 2
    assert found[0] is not found[1]
    assert set(SqliteEdgeState(kept).taken(wanted("a").counters).values()) == {0}


@pytest.mark.parametrize(("column", "by_itself"), [("config", False), ("blocks", True)])
def test_a_row_that_cannot_be_read_fails_its_own_call(kept: StateFile, column: str, *, by_itself: bool) -> None:
    """A broken row fails the calls that read it, and no other of their group, at once or when each is counted by itself."""
    broken = RevocationTarget("grant", "broken")
    with kept.writing() as connection:
        values = {"epoch": 0, "blocks": "{}", "config": None, column: "{"}
        connection.execute(
            "INSERT INTO things (scope, id, epoch, blocks, config) VALUES (?, ?, ?, ?, ?)", [*broken, *values.values()]
        )
    good = wanted("a")
    bad = good._replace(targets={**good.targets, "grant": broken})
    state = SqliteEdgeState(kept)
    found = state.read_and_count_all([good, bad, good])
    if by_itself:
        assert found == [None] * 3
        assert state.read_and_count(*good).numbers["day"] == 1
        with pytest.raises(ValueError, match="Expecting"):
            state.read_and_count(*bad)
    else:
        assert isinstance(found[1], ValueError)
        assert [one.numbers["day"] for one in found if isinstance(one, Snapshot)] == [1, 3]
