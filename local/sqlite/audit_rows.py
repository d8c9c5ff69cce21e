"""The rows of the audit, each with the hash of the one before it: written, cut, carried over and checked."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from chalicelib.admin import audit_chain
from chalicelib.admin.audit_chain import CHANGED, INSERTED, MISSING, TRUNCATED, ChainPage, Fault, Head
from chalicelib.audit import Event

ON_A_PAGE = 2000
"""Rows that are checked in one transaction."""
_CARRIED = "at, kind, request_id, principal, grant_name, key, event"
_COLUMNS = "at, kind, request_id, principal, grant_name, key, subject, event"
_MEMBERS = {"at": "at", "kind": "kind", "request_id": "request_id", "principal": "principal", "grant": "grant_name", "key": "key"}  # fmt: skip
_ROW = f"seq, {', '.join(_MEMBERS.values())}, event, hex(before), hex(hash)"


class Link(NamedTuple):
    """A number and a hash, in hexadecimal."""

    seq: int
    hash: str


def write(connection: sqlite3.Connection, event: Event) -> None:
    """Write an event, and chain it to the one before, within a transaction of the caller's."""
    columns = (event.at, event.kind, event.request_id, event.principal, event.grant, event.key, event.subject or None)
    append(connection, columns, json.dumps(event.to_json()))


def append(connection: sqlite3.Connection, columns: tuple[object, ...], text: str) -> None:
    """Write a row as the newest. columns: _COLUMNS but the event."""
    before, seq = _newest(connection), _last_number(connection) + 1
    linked = audit_chain.link(before.hash, seq, audit_chain.content(json.loads(text)))
    connection.execute(
        f"INSERT INTO audit (seq, {_COLUMNS}, before, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  a constant
        (seq, *columns, text, bytes.fromhex(before.hash), bytes.fromhex(linked)),
    )


def carry_over(old: sqlite3.Connection, connection: sqlite3.Connection) -> int:
    """Add the events of another state of the same history that are newer than all here; return how many.

    Raises sqlite3.Error for an old state that is damaged. Where the two are one chain, the rows stay as they are, with any
    fault in them; otherwise they are chained anew.
    """
    last = int(connection.execute("SELECT coalesce(max(seq), 0) FROM audit").fetchone()[0])
    one_chain = _is_one_chain(old, connection, last)
    kept = ", before, hash" if one_chain else ""
    count = 0
    for row in old.execute(f"SELECT seq, {_CARRIED}{kept} FROM audit WHERE seq > ? ORDER BY seq", (last,)):  # noqa: S608  constants
        count += 1
        if one_chain:
            connection.execute(
                f"INSERT INTO audit (seq, {_CARRIED}, before, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  as that
                row,
            )
        else:
            append(connection, (*row[1:7], None), row[7])
    return count


def _is_one_chain(old: sqlite3.Connection, connection: sqlite3.Connection, last: int) -> bool:
    """Whether the newest link here is a link there, followed by the next one."""
    if "hash" not in {row[1] for row in old.execute("PRAGMA table_info(audit)")}:
        return False
    following = old.execute("SELECT min(seq) FROM audit WHERE seq > ?", (last,)).fetchone()[0]
    here = head(connection, last).hash
    return following == last + 1 and here != "" and here == head(old, last).hash


def boundary(connection: sqlite3.Connection, before: int, now: int) -> int:
    """Return the number below which every row may be cut: the first that is from `before` or later stays, and all behind it.

    An event from the future, by a clock that was wrong, keeps nothing: it goes with those around it.
    """
    # `+at`: in the order of `seq`, which ends at the first that stays.
    kept = connection.execute(
        "SELECT seq FROM audit WHERE +at >= ? AND +at <= ? ORDER BY seq LIMIT 1", (before, now)
    ).fetchone()
    if kept:
        return int(kept[0])
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM audit WHERE at < ?", (before,)).fetchone()[0]) + 1


def cut(connection: sqlite3.Connection, below: int, most: int) -> int:
    """Remove up to `most` rows below a number, the oldest first; the chain begins behind them. Return how many."""
    rows = connection.execute(
        "SELECT seq, hex(hash) FROM audit WHERE seq < ? ORDER BY seq LIMIT ?", (below, most)
    ).fetchall()
    if not rows:
        return 0
    connection.execute("DELETE FROM audit WHERE seq <= ?", (rows[-1][0],))
    chained = [Link(seq, found) for seq, found in rows if found]
    if chained:
        connection.execute(
            "UPDATE audit_chain SET seq = ?, hash = ? WHERE seq < ?",
            (chained[-1].seq, bytes.fromhex(chained[-1].hash), chained[-1].seq),
        )
    return len(rows)


def head(connection: sqlite3.Connection, seq: int | None) -> Head:
    """See `AuditChain.head`."""
    base, newest = _base(connection), _newest(connection)
    wanted = newest.seq if seq is None else seq
    kept_from = base.seq + 1
    if wanted == base.seq:
        return Head(wanted, base.hash, 0, kept_from, newest.seq)
    row = connection.execute("SELECT hex(hash), at FROM audit WHERE seq = ?", (wanted,)).fetchone()
    found, at = row or ("", 0)
    return Head(wanted, found.lower(), at if found else 0, kept_from, newest.seq)


def check(connection: sqlite3.Connection, after: str) -> ChainPage:
    """See `AuditChain.check_chain`. The cursor is the number of the last row that was checked."""
    base = _base(connection)
    expected, begin = base, _cursor(after)
    if begin > base.seq:
        row = connection.execute("SELECT seq, hex(hash) FROM audit WHERE seq <= ? AND hash IS NOT NULL ORDER BY seq DESC LIMIT 1", (begin,)).fetchone()  # fmt: skip
        expected = Link(row[0], row[1].lower()) if row else base
    rows = connection.execute(f"SELECT {_ROW} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (begin, ON_A_PAGE + 1)).fetchall()  # noqa: S608  a constant  # fmt: skip
    start = connection.execute("SELECT start FROM audit_chain").fetchone()[0]
    checked = _Checked(expected, begin, base, start)
    for row in rows[:ON_A_PAGE]:
        checked.row(row)
        if len(checked.faults) >= audit_chain.FAULTS_ON_A_PAGE - 1:
            return checked.page(str(row[0]))
    if len(rows) > ON_A_PAGE:
        return checked.page(str(rows[ON_A_PAGE - 1][0]))
    last = _last_number(connection)
    if last > max(checked.last, base.seq, start):
        checked.faults.append(Fault(TRUNCATED, last, "", 0))
    return checked.page("")


class _Checked:
    """Rows that were compared, one after the other. expected: the link that the next one follows."""

    def __init__(self, expected: Link, begin: int, base: Link, start: int) -> None:
        self.faults: list[Fault] = []
        self.last = max(expected.seq, begin)
        self._expected, self._base, self._start = expected, base, start
        self._events = self._unchained = 0

    def page(self, after: str) -> ChainPage:
        return ChainPage(tuple(self.faults), self._events, self._events, self._unchained, after)

    def row(self, row: tuple[Any, ...]) -> None:
        seq, *columns, text, before, found = row
        before, found = before.lower(), found.lower()
        stored = _read(text)
        event_id, at = str(stored.get("id", "")), columns[0]
        if seq <= self._start and not found:
            self._unchained += 1
        elif not found or seq <= self._base.seq:
            self.faults.append(Fault(INSERTED, seq, event_id, at))
        else:
            self._events += 1
            if seq > self.last + 1:
                self._gap(seq)
            elif before != self._expected.hash:
                self.faults.append(Fault(CHANGED, self._expected.seq, "", 0))
            told = [stored.get(name) for name in _MEMBERS]
            if told != columns or found != audit_chain.link(before, seq, audit_chain.content(stored)):
                self.faults.append(Fault(CHANGED, seq, event_id, at))
            self._expected = Link(seq, found)
        self.last = max(self.last, seq)

    def _gap(self, seq: int) -> None:
        """Say which rows are missing before this one; numbers are never left out."""
        room = audit_chain.FAULTS_ON_A_PAGE - len(self.faults) - 2
        self.faults += [Fault(MISSING, one, "", 0) for one in range(self.last + 1, min(seq, self.last + 1 + room))]


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _base(connection: sqlite3.Connection) -> Link:
    row = connection.execute("SELECT seq, hex(hash) FROM audit_chain").fetchone()
    if row is None:  # the port's adapter makes it Unavailable: nothing is written in no chain
        raise sqlite3.DatabaseError("the chain of the audit has no beginning")
    return Link(row[0], row[1].lower())


def _newest(connection: sqlite3.Connection) -> Link:
    base = _base(connection)
    row = connection.execute("SELECT seq, hex(hash) FROM audit WHERE seq > ? AND hash IS NOT NULL ORDER BY seq DESC LIMIT 1", (base.seq,)).fetchone()  # fmt: skip
    return Link(row[0], row[1].lower()) if row else base


def _last_number(connection: sqlite3.Connection) -> int:
    """Return the number of the newest row that there ever was."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    return int(row[0]) if row else 0


def _cursor(after: str) -> int:
    # SQLite's integers have 63 bits, Python's and a caller's have any number (test_a_malformed_cursor_of_the_chain).
    if after and not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise ValueError("not a cursor of the chain")
    return int(after) if after else -(2**62)
