"""Counters in SQLite: what was taken, and what was refused, in a transaction that is under way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from chalicelib.audit import Event
from chalicelib.quota import Counter
from chalicelib.usage import minute_of

_PLACE = "what = ? AND grant_name = ? AND principal = ? AND window = ? AND start = ?"


def add_one(connection: sqlite3.Connection, counters: tuple[Counter, ...]) -> Mapping[str, int]:
    """Add one to each counter of one subject, and return which number that is in each window."""
    seen = minute_of(counters)
    return {counter.window: _add(connection, counter, 1, seen) for counter in counters}


def label(connection: sqlite3.Connection, counters: Iterable[Counter], event: Event) -> None:
    """Say of counted tokens which key they open, and what their principal is called."""
    connection.executemany(
        f"UPDATE counters SET key = ?, name = ? WHERE {_PLACE}",  # noqa: S608  a constant
        [(event.key, event.principal_name, *_place(counter)) for counter in counters],
    )


def take_off(connection: sqlite3.Connection, counters: Iterable[Counter]) -> None:
    """Take one from each counter, and from none that holds none."""
    connection.executemany(
        f"UPDATE counters SET taken = taken - 1 WHERE {_PLACE} AND taken > 0",  # noqa: S608  a constant
        [_place(counter) for counter in counters],
    )


def add_refused(connection: sqlite3.Connection, counters: tuple[Counter, ...], reason: str) -> None:
    """Count one that was refused, under its reason."""
    seen = minute_of(counters)
    for counter in counters:
        _add(connection, counter, 0, seen)
        connection.execute(
            "INSERT INTO refusals (what, grant_name, principal, window, start, reason, refused)"
            " VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET refused = refused + 1",
            (*_place(counter), reason),
        )


def _add(connection: sqlite3.Connection, counter: Counter, step: int, seen: int) -> int:
    row = connection.execute(
        "INSERT INTO counters (what, grant_name, principal, window, start, taken, seen) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET taken = taken + excluded.taken, seen = max(seen, excluded.seen) RETURNING taken",
        (*_place(counter), step, seen),
    ).fetchone()
    return int(row[0])


def _place(counter: Counter) -> tuple[str, str, str, str, int]:
    return counter.what, counter.grant, counter.principal, counter.window, counter.start
