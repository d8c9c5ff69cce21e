from __future__ import annotations

import sqlite3
from contextlib import closing

from chalicelib import quota
from chalicelib.revocation import TOKEN_REVOCATION_KEPT
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import ROWS, sweep
from tests.contracts import samples
from tests.local.sqlite.conftest import NOW

LATER = NOW + quota.COUNTERS_KEPT + 2 * 86400


def left(state: StateFile, table: str) -> int:
    with state.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  the test's own


def test_others_write_between_the_parts(kept: StateFile) -> None:
    """A sweep removes a few rows in each transaction, and others can write in between, without a wait."""
    counted = SqliteEdgeState(StateFile(kept.path, durable=False))
    for number in range(2 * ROWS):
        counted.count(quota.counters("calls", "app", f"p{number}", NOW))
    found = []
    with closing(sqlite3.connect(kept.path, timeout=0)) as other:
        for _ in sweep(kept, LATER):
            found.append(left(kept, "counters"))
            other.execute("UPDATE counters SET taken = taken + 1 WHERE principal = 'p1'")
            other.commit()
    assert found == [number * ROWS for number in (5, 4, 3, 2, 1, 0)]


def test_token_revocations_go_in_parts(kept: StateFile) -> None:
    """More revocations of tokens than one transaction removes are all removed, with their rows."""
    with kept.writing() as connection:
        names = [(f"t{number}",) for number in range(ROWS + 1)]
        connection.executemany(
            "INSERT INTO revocations (id, scope, target, reason, author, at) VALUES (?1, 'token', ?1, '', '', 0)", names
        )
        connection.executemany("INSERT INTO things (scope, id, epoch) VALUES ('token', ?, 1)", names)
    assert len(list(sweep(kept, LATER))) == 1
    assert (left(kept, "revocations"), left(kept, "things")) == (0, 0)


def test_every_removal_finds_its_rows_by_an_index(kept: StateFile) -> None:
    """No part of a sweep walks through a table: that would hold up everybody once the table is large."""
    SqliteControl(kept).revoke(samples.revocation("token", "t", at=NOW), samples.event("revocation.made", at=NOW))
    statements: list[str] = []
    with kept.reading() as connection:
        connection.set_trace_callback(statements.append)
    list(sweep(kept, NOW + TOKEN_REVOCATION_KEPT + 1))
    with kept.reading() as connection:
        connection.set_trace_callback(None)
        swept = [one for one in statements if one.startswith(("DELETE", "SELECT"))]
        plans = [row[3] for one in swept for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(swept) == 10
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans
