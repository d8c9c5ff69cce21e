"""Removes what has ended, a few rows at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from chalicelib.edge.refused_calls import KEPT_SECONDS
from chalicelib.edge.response_times import SHOWN_SECONDS
from chalicelib.quota import COUNTERS_KEPT, WINDOWS
from chalicelib.revocation import TOKEN_REVOCATION_KEPT
from local.sqlite import audit_rows
from local.sqlite.state_file import PATIENT_MS, StateFile

ROWS = 200
"""Rows that are removed in one transaction: other writers wait for that long, which is some milliseconds."""
LOCK_KEPT = 86400
"""Seconds that a replay lock is kept after its identity token has expired."""

_COUNTED = "principal, grant_name, what, window, start"
_LOCKS = "DELETE FROM locks WHERE id IN (SELECT id FROM locks WHERE expires < ? LIMIT ?)"
_COUNTERS = (
    f"DELETE FROM counters WHERE ({_COUNTED}) IN"  # noqa: S608  a constant
    f" (SELECT {_COUNTED} FROM counters WHERE window = ? AND start < ? LIMIT ?)"
)
_REFUSALS = (
    f"DELETE FROM refusals WHERE ({_COUNTED}, reason) IN"  # noqa: S608  a constant
    f" (SELECT {_COUNTED}, reason FROM refusals WHERE window = ? AND start < ? LIMIT ?)"
)
_ANSWER = "principal, grant_name, window, start, model, key"
_ANSWERS = (
    f"DELETE FROM answers WHERE ({_ANSWER}) IN"  # noqa: S608  a constant
    f" (SELECT {_ANSWER} FROM answers WHERE window = ? AND start < ? LIMIT ?)"
)
_RESERVATIONS = "DELETE FROM reservations WHERE id IN (SELECT id FROM reservations WHERE at < ? LIMIT ?)"
"""Those that were never settled. A day's counters, in which they count, are gone by then."""
_REFUSED_CALLS = (
    "DELETE FROM refused_calls WHERE seq IN (SELECT seq FROM refused_calls WHERE at < ? ORDER BY at LIMIT ?)"
)
_TIMED = "window, start, bucket"
_RESPONSE_TIMES = (
    f"DELETE FROM response_times WHERE ({_TIMED}) IN"  # noqa: S608  a constant
    f" (SELECT {_TIMED} FROM response_times WHERE window = ? AND start < ? LIMIT ?)"
)
_REPLACED_POLICY = (
    "DELETE FROM policies WHERE version = (SELECT min(version) FROM policies)"
    " AND (SELECT at FROM policies ORDER BY version LIMIT 1 OFFSET 1) < ?"
)
_ENDED_REVOCATIONS = (
    "SELECT id FROM revocations WHERE scope <> 'token' AND (lifted_at IS NOT NULL AND max(lifted_at, kept_from) < :before"
    " OR until IS NOT NULL AND max(until, kept_from) < :before) LIMIT :rows"
)
_PROBES = (
    "DELETE FROM revocations WHERE id IN (SELECT id FROM revocations"
    " WHERE scope = 'principal' AND kept_from < ? AND author = 'revocation-probe' LIMIT ?)"
)
"""Those that local/revocation_probe.py makes every few minutes; the audit has them, and their blocks last two seconds."""
_OLD_REVOCATIONS = "FROM revocations WHERE scope = 'token' AND kept_from < ? ORDER BY kept_from LIMIT ?"


def sweep(state: StateFile, now: int) -> Iterator[None]:
    """Remove what has ended at `now`, and stop after each transaction that may have left some; raises Unavailable."""
    ended: list[tuple[str, tuple[object, ...]]] = [(_LOCKS, (now - LOCK_KEPT,))]
    for window, length in WINDOWS.items():
        before = (window, now - length - COUNTERS_KEPT[window])
        # A day's answers are the sum of its hours', and go with them.
        answers_before = (window, now - length - COUNTERS_KEPT["hour"])
        ended += [(_COUNTERS, before), (_REFUSALS, before), (_ANSWERS, answers_before)]
    ended.append((_RESERVATIONS, (now - max(WINDOWS.values()) - COUNTERS_KEPT["day"],)))
    ended.append((_REFUSED_CALLS, (now - KEPT_SECONDS,)))
    ended += [(_RESPONSE_TIMES, (window, now - kept - WINDOWS[window])) for window, kept in SHOWN_SECONDS.items()]
    ended.append((_PROBES, (now - TOKEN_REVOCATION_KEPT,)))
    for statement, values in ended:
        yield from _in_parts(state, statement, values)
    yield from _token_revocations(state, now - TOKEN_REVOCATION_KEPT)


def sweep_records(state: StateFile, before: int, now: int = 2**53) -> Iterator[None]:
    """Remove events, replaced policies and ended revocations from before a time, as `sweep` does.

    SECURITY: never what is in force: the newest policy, a revocation whose block goes on, or any epoch
    (test_what_is_in_force_is_kept).
    """
    yield from (None for _ in _cut_audit(state, before, now, 0))
    removed = 1
    while removed:
        with state.writing() as connection:
            removed = connection.execute(_REPLACED_POLICY, (before,)).rowcount
        yield
    found = [("",)]
    while found:
        with state.reading() as connection:
            found = connection.execute(_ENDED_REVOCATIONS, {"before": before, "rows": ROWS}).fetchall()
        with state.writing() as connection:
            connection.executemany("DELETE FROM revocations WHERE id = ?", found)
        yield


def cut_audit(state: StateFile, before: int, now: int = 2**53) -> Iterator[int]:
    """Remove the audit's events from before a time, and yield how many after each transaction; raises Unavailable.

    The chain has no holes: an event that was written behind a younger one stays until that one goes.
    """
    yield from _cut_audit(state, before, now, PATIENT_MS)


def _cut_audit(state: StateFile, before: int, now: int, wait_ms: int) -> Iterator[int]:
    with state.reading() as connection:
        below = audit_rows.boundary(connection, before, now)
    removed = ROWS
    while removed == ROWS:
        with state.writing(wait_ms) as connection:
            removed = audit_rows.cut(connection, below, ROWS)
        yield removed


def _in_parts(state: StateFile, statement: str, values: tuple[object, ...]) -> Iterator[None]:
    removed = ROWS
    while removed == ROWS:
        with state.writing() as connection:
            removed = connection.execute(statement, (*values, ROWS)).rowcount
        if removed == ROWS:
            yield


def _token_revocations(state: StateFile, before: int) -> Iterator[None]:
    removed = ROWS
    while removed == ROWS:
        with state.writing() as connection:
            removed = _remove_token_revocations(connection, before)
        if removed == ROWS:
            yield


def _remove_token_revocations(connection: sqlite3.Connection, before: int) -> int:
    """Remove revocations of tokens that have long expired, with the tokens' own rows; return how many."""
    rows = connection.execute(f"SELECT id, target {_OLD_REVOCATIONS}", (before, ROWS)).fetchall()
    connection.executemany("DELETE FROM things WHERE scope = 'token' AND id = ?", [(target,) for _, target in rows])
    connection.executemany("DELETE FROM revocations WHERE id = ?", [(one,) for one, _ in rows])
    return len(rows)
