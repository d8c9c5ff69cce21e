"""The chain of the audit in the state file: each test changes the file behind its back."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.admin import audit_chain
from chalicelib.admin.audit_chain import Fault, Head
from chalicelib.audit import Event
from chalicelib.errors import Unavailable
from local.sqlite import audit_rows, schema
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import StateFile
from local.sqlite.sweep import cut_audit, sweep_records
from tests.contracts import samples
from tests.contracts.samples import NOW, SUB

Told = list[tuple[str, int, str]]


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    """A state file whose audit has the events e1 to e6, one a second."""
    made = created(tmp_path / "state.db")
    for number in range(1, 7):
        write(made, number)
    return made


def created(path: Path) -> StateFile:
    StateFile.create(path)
    return StateFile(path)


def write(state: StateFile, number: int, at: int | None = None) -> None:
    event = samples.event("key.set", at=NOW + number if at is None else at)
    SqliteLedger(state).record(replace(event, id=f"e{number}", detail={"version": "v"}))


def run(state: StateFile, statement: str, *values: object) -> None:
    with state.writing() as connection:
        connection.execute(statement, values)


def faults(state: StateFile) -> Told:
    """Every fault: what, number and id."""
    found: list[Fault] = []
    after = ""
    while True:
        page = SqliteLedger(state).check_chain(after)
        found += page.faults
        if not page.next:
            return [(one.what, one.seq, one.id) for one in found]
        after = page.next


def head(state: StateFile, seq: int | None = None) -> Head:
    return SqliteLedger(state).head(seq)


def test_what_was_written_is_one_chain(state: StateFile) -> None:
    """As it was written, nothing is at fault, and every event is in it."""
    page = SqliteLedger(state).check_chain("")
    assert (page.faults, page.links, page.events, page.unchained, page.next) == ((), 6, 6, 0, "")
    assert (head(state).seq, head(state).at, head(state).kept_from, len(head(state).hash)) == (6, NOW + 6, 1, 64)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit SET event = replace(event, '\"v\"', '\"w\"') WHERE seq = 3", [("changed", 3, "e3")]),
        ("UPDATE audit SET event = 'x' WHERE seq = 3", [("changed", 3, "")]),
        ("UPDATE audit SET principal = 'x' WHERE seq = 3", [("changed", 3, "e3")]),
        ("UPDATE audit SET at = at - 86400 WHERE seq = 3", [("changed", 3, "e3")]),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", [("changed", 3, "e3"), ("changed", 3, "")]),
        ("UPDATE audit SET before = zeroblob(32) WHERE seq = 3", [("changed", 2, ""), ("changed", 3, "e3")]),
        ("DELETE FROM audit WHERE seq = 3", [("missing", 3, "")]),
        ("DELETE FROM audit WHERE seq IN (1, 4, 5)", [("missing", 1, ""), ("missing", 4, ""), ("missing", 5, "")]),
        ("DELETE FROM audit WHERE seq > 4", [("truncated", 6, "")]),
        ("DELETE FROM audit", [("truncated", 6, "")]),
        ("INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event) SELECT at, kind, request_id, principal, grant_name, key, event FROM audit WHERE seq = 2", [("inserted", 7, "e2")]),
        ("INSERT INTO audit SELECT 0, at, kind, request_id, principal, grant_name, key, event, subject, before, hash FROM audit WHERE seq = 2", [("inserted", 0, "e2")]),
        ("UPDATE audit SET seq = 9 WHERE seq = 3", [("missing", 3, ""), ("missing", 7, ""), ("missing", 8, ""), ("changed", 9, "e3")]),
    ],
)  # fmt: skip
def test_what_was_done_to_it_is_found(state: StateFile, statement: str, told: Told) -> None:
    """A changed, a missing, an inserted event and a tail that was cut off are named; events written behind do not hide it."""
    run(state, statement)
    assert faults(state) == told
    write(state, 8)
    assert faults(state) != []


def test_a_byte_of_the_file(state: StateFile, tmp_path: Path) -> None:
    """A byte that is flipped in the file itself is found."""
    state.checkpoint()
    state.close()
    whole = (tmp_path / "state.db").read_bytes()
    assert whole.count(b'"id": "e4"') == 1
    (tmp_path / "state.db").write_bytes(whole.replace(b'"id": "e4"', b'"id": "e5"'))
    assert faults(StateFile(tmp_path / "state.db")) == [("changed", 4, "e5")]


def test_a_head_outlives_a_rewritten_chain(state: StateFile) -> None:
    """Who rewrites the whole chain passes a check, but not a comparison with a head from before."""
    published = head(state, 5)
    with state.writing() as connection:
        rows = connection.execute(
            "SELECT at, kind, request_id, principal, grant_name, key, event FROM audit"
        ).fetchall()
        connection.execute("DELETE FROM audit")
        connection.execute("DELETE FROM sqlite_sequence")
        for *columns, text in rows:
            if json.loads(text)["id"] != "e2":
                audit_rows.append(connection, (*columns, None), text)
    assert faults(state) == []
    assert head(state, 5).hash not in ("", published.hash)
    assert head(state, 6).hash == ""


def test_repeats_are_no_change(state: StateFile) -> None:
    """A refusal that is counted in its first event afterwards changes nothing that is hashed."""
    sample = samples.event("token.refused", principal=SUB, reason="x", subject="s", claims={"ü": [1.5, 2**53, None]})
    for _ in range(3):
        SqliteLedger(state).record(sample)
    assert (faults(state), head(state).seq) == ([], 7)


def test_a_cut_begins_anew(state: StateFile) -> None:
    """What was cut is no fault: the chain begins at the link before, and an older head is said to be cut."""
    heads = {seq: head(state, seq).hash for seq in range(1, 7)}
    assert sum(cut_audit(state, NOW + 4)) == 3
    assert (faults(state), head(state).kept_from, head(state).hash) == ([], 4, heads[6])
    assert (head(state, 3).hash, head(state, 2).hash, head(state, 4).hash) == (heads[3], "", heads[4])
    list(sweep_records(state, NOW + 99))
    assert (faults(state), head(state), head(state).hash) == ([], Head(6, heads[6], 0, 7, 6), heads[6])
    write(state, 8)
    assert (faults(state), head(state).seq) == ([], 7)
    run(state, "DELETE FROM audit WHERE seq = 7")
    assert faults(state) == [("truncated", 7, "")]


def test_a_cut_leaves_no_hole(state: StateFile) -> None:
    """An old event behind a younger one stays, unless that one's time is in the future."""
    for number, at in ((7, NOW + 2), (8, NOW + 9)):
        write(state, number, at)
    assert sum(cut_audit(state, NOW + 3)) == 2
    run(state, "UPDATE audit SET at = ? WHERE seq = 3", NOW + 10**6)
    assert sum(cut_audit(state, NOW + 5, NOW + 100)) == 2
    assert head(state).kept_from == 5


def test_events_of_before_are_unchained(tmp_path: Path) -> None:
    """Events that were there before the chain are counted as such; it begins with the next one."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        for step in schema._STEPS[: schema._STEPS.index(schema._add_what_the_chain_needs)]:
            step(connection)
        for number in (1, 2):
            event = samples.event("key.set", at=NOW + number)
            connection.execute(
                "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event) VALUES (?, ?, '', '', '', '', ?)",
                (event.at, event.kind, json.dumps(event.to_json())),
            )
        connection.execute(f"PRAGMA user_version = {schema._STEPS.index(schema._add_what_the_chain_needs)}")
    connection.close()
    StateFile.create(path)
    state = StateFile(path)
    write(state, 3)
    page = SqliteLedger(state).check_chain("")
    assert (page.faults, page.events, page.unchained) == ((), 1, 2)
    assert (head(state).seq, head(state).kept_from) == (3, 3)
    assert head(state, 1).hash == ""


def test_pages_of_a_check(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check goes on from a cursor, finds what is at the edge of two pages, and ends a page with many faults early."""
    monkeypatch.setattr(audit_rows, "ON_A_PAGE", 2)
    assert faults(state) == []
    run(state, "DELETE FROM audit WHERE seq = 3")
    assert faults(state) == [("missing", 3, "")]
    run(state, "UPDATE audit SET principal = 'x' WHERE seq = 5")
    assert faults(state) == [("missing", 3, ""), ("changed", 5, "e5")]


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "٣"])
def test_a_malformed_cursor_of_the_chain(state: StateFile, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        SqliteLedger(state).check_chain(cursor)


def test_no_beginning_is_no_audit(state: StateFile) -> None:
    """Without what the chain begins with, nothing is recorded and so nothing is done."""
    run(state, "DELETE FROM audit_chain")
    with pytest.raises(Unavailable):
        write(state, 9)


def test_a_restore_goes_on_with_the_chain(state: StateFile, tmp_path: Path) -> None:
    """Events of the state that is replaced are carried over as they are; a fault in them stays one."""
    with state.reading() as connection:
        backup = sqlite3.connect(tmp_path / "backup.db")
        connection.backup(backup)
        backup.close()
    for number in (7, 8):
        write(state, number)
    newest = head(state)
    run(state, "UPDATE audit SET principal = 'x' WHERE seq = 7")
    restored = StateFile(tmp_path / "backup.db")
    with state.reading() as old, restored.writing() as connection:
        assert audit_rows.carry_over(old, connection) == 2
    assert (head(restored), faults(restored)) == (newest, [("changed", 7, "e7")])


def test_a_restore_of_another_history(state: StateFile, tmp_path: Path) -> None:
    """Events that do not follow the newest one here are chained anew, behind it."""
    other = created(tmp_path / "other.db")
    for number in (1, 2):
        write(other, number, NOW + 50)
    with state.reading() as old, other.writing() as connection:
        assert audit_rows.carry_over(old, connection) == 4
    assert (faults(other), head(other).seq) == ([], 6)
    assert head(other).hash != head(state).hash


def test_an_event_is_hashed_as_it_is_stored() -> None:
    """Whatever SQLite makes of an event's text, it is the same event."""
    event = Event("i", 1, "key.set", "r", claims={"b": 1, "a": "\ud800"})
    assert audit_chain.content(event.to_json()) == audit_chain.content(
        json.loads(json.dumps({**event.to_json(), "repeated": 3}))
    )
