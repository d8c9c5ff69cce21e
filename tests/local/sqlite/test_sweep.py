from __future__ import annotations

import sqlite3
from contextlib import closing

from chalicelib import quota
from chalicelib.admin.revocation_probe import NAME
from chalicelib.audit import Query
from chalicelib.revocation import TOKEN_REVOCATION_KEPT, RevocationTarget
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import ROWS, sweep, sweep_records
from tests.contracts import samples
from tests.local.sqlite.conftest import NOW

LATER = NOW + quota.COUNTERS_KEPT["day"] + 2 * 86400


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
        names = [{"id": f"t{number}"} for number in range(ROWS + 1)]
        connection.executemany(
            "INSERT INTO revocations (id, scope, target, reason, author, at) VALUES (:id, 'token', :id, '', '', 0)",
            names,
        )
        connection.executemany("INSERT INTO things (scope, id, epoch) VALUES ('token', :id, 1)", names)
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
    assert len(swept) == 18
    assert not [plan for plan in plans if plan.startswith("SCAN")], plans


def test_what_is_in_force_is_kept(kept: StateFile) -> None:
    """Retention removes old events, replaced policies and ended revocations; what is in force stays, however old it is."""
    control = SqliteControl(kept)
    for number in range(3):
        samples.put_in_force(control, samples.grant(f"g{number}"), at=NOW + number)
    lasting, lifted = (samples.revocation("principal", name, at=NOW) for name in ("lasting", "lifted"))
    over, running = (samples.revocation("grant", "g0", at=NOW, until=NOW + end) for end in (60, 10**9))
    for one in (lasting, lifted, over, running):
        control.revoke(one, samples.event("revocation.made", at=NOW))
    control.restore(lifted.id, "tester", samples.event("revocation.lifted", at=NOW + 1))
    epochs = [control.revocation_state(RevocationTarget(one.scope, one.target)) for one in (lasting, lifted, over)]
    list(sweep_records(kept, NOW))
    assert (left(kept, "audit"), left(kept, "policies"), left(kept, "revocations")) == (8, 3, 4)
    list(sweep_records(kept, NOW + 86400))
    assert (left(kept, "audit"), left(kept, "policies")) == (0, 1)
    assert [one for one in (lasting, lifted, over, running) if control.revocation(one.id)] == [lasting, running]
    assert control.current().version == 3
    assert control.holds(samples.policy(samples.grant("g2")))
    assert [
        control.revocation_state(RevocationTarget(one.scope, one.target)) for one in (lasting, lifted, over)
    ] == epochs
    samples.put_in_force(control, samples.grant("g4"), at=NOW + 86400)
    assert control.current().version == 4


def test_a_replaced_policy_is_kept_from_when_it_was_replaced(kept: StateFile) -> None:
    control = SqliteControl(kept)
    samples.put_in_force(control, at=NOW)
    samples.put_in_force(control, samples.grant(), at=NOW + 86400)
    list(sweep_records(kept, NOW + 86400))
    assert left(kept, "policies") == 2
    list(sweep_records(kept, NOW + 86401))
    assert left(kept, "policies") == 1


def test_many_old_events_go_in_parts(kept: StateFile) -> None:
    """Old events are removed a few at a time by their numbers, and a page of the audit is not sorted."""
    ledger = SqliteLedger(kept)
    for number in range(ROWS + 1):
        ledger.record(samples.event("keys.read", at=NOW + number))
    statements: list[str] = []
    with kept.reading() as connection:
        connection.set_trace_callback(statements.append)
    parts = sweep_records(kept, NOW + ROWS)
    next(parts)
    assert left(kept, "audit") == 1
    list(parts)
    ledger.page(Query(since=NOW, until=NOW + 10**6))
    with kept.reading() as connection:
        connection.set_trace_callback(None)
        used = [one for one in statements if one.startswith(("DELETE FROM audit", "SELECT seq, event"))]
        plans = [row[3] for one in used for row in connection.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert len(used) == 2
    assert not [plan for plan in plans if "TEMP B-TREE" in plan or plan == "SCAN audit"], plans


def test_a_probe_s_revocations_go(kept: StateFile) -> None:
    """What measures how long a revocation takes leaves its revocations for a day; its epochs stay, and so do all others."""
    control = SqliteControl(kept)
    for one in (samples.revocation("principal", "p", at=NOW), samples.revocation("principal", "q", at=NOW)):
        probing = one._replace(id=f"{one.id}-{one.target}", author=NAME if one.target == "p" else one.author)
        control.revoke(probing._replace(until=NOW + 2), samples.event("revocation.made", at=NOW))
    list(sweep(kept, NOW + TOKEN_REVOCATION_KEPT - 1))
    assert left(kept, "revocations") == 2
    list(sweep(kept, NOW + TOKEN_REVOCATION_KEPT + 1))
    assert [one.target for one in control.revocations("principal", "", 10).revocations] == ["q"]
    assert control.revocation_state(RevocationTarget("principal", "p")).epoch == 1
