from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

from chalicelib.quota import Counter
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import WAIT_MS, StateFile
from tests.contracts import samples


def test_a_number_is_given_back_though_another_writes(kept: StateFile) -> None:
    """A refused call gives its number back even if another writes for longer than a call waits."""
    counters = samples.calls()
    SqliteEdgeState(kept).count(counters)
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
    SqliteEdgeState(kept).give_back(counters, "a_test")
    holder.join()
    taken: dict[Counter, int] = dict(SqliteEdgeState(kept).taken(counters))
    assert set(taken.values()) == {0}
