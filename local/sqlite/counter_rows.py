"""Counters in SQLite: what was admitted and what was refused, within a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from functools import lru_cache

from chalicelib.audit import Event
from chalicelib.quota import Counter, last_seen

_IS_COUNTER = "what = ? AND grant_name = ? AND principal = ? AND window = ? AND start = ?"


def add_one(connection: sqlite3.Connection, counters: tuple[Counter, ...]) -> Mapping[str, int]:
    """Add one to each counter of one subject, and return which number that is in each window."""
    return _add(connection, counters, 1)


def add_each(connection: sqlite3.Connection, each: Iterable[tuple[Counter, ...]]) -> dict[Counter, int]:
    """Add one to each counter as often as it comes, in one statement for those of a subject; return what each held before."""
    before: dict[Counter, int] = {}
    for counters, times in Tally(each).items():
        added = _add(connection, counters, times) if counters else {}
        for counter in counters:
            before.setdefault(counter, added[counter.window] - times)  # a subject's hour is of several minutes
    return before


def label(connection: sqlite3.Connection, counters: Iterable[Counter], event: Event) -> None:
    """Note the key and the principal's name of tokens that were counted."""
    connection.executemany(
        f"UPDATE counters SET key = ?, name = ? WHERE {_IS_COUNTER}",  # noqa: S608  a constant
        [(event.key, event.principal_name, *counter) for counter in counters],
    )


def take_off(connection: sqlite3.Connection, counters: Iterable[Counter]) -> None:
    """Take one from each counter that holds any."""
    connection.executemany(
        f"UPDATE counters SET taken = taken - 1 WHERE {_IS_COUNTER} AND taken > 0",  # noqa: S608  a constant
        list(counters),
    )


def add_refused(connection: sqlite3.Connection, counters: tuple[Counter, ...], reason: str) -> None:
    """Count a refusal, under its reason."""
    _add(connection, counters, 0)
    connection.executemany(
        "INSERT INTO refusals (what, grant_name, principal, window, start, reason, refused)"
        " VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET refused = refused + 1",
        [(*counter, reason) for counter in counters],
    )


def take_off_refused(connection: sqlite3.Connection, counters: Iterable[Counter], reason: str) -> None:
    """Undo the count of a refusal for this reason."""
    connection.executemany(
        f"UPDATE refusals SET refused = refused - 1 WHERE {_IS_COUNTER} AND reason = ?",  # noqa: S608  a constant
        [(*counter, reason) for counter in counters],
    )


def refused(connection: sqlite3.Connection, counter: Counter) -> int:
    """Return how many refusals a counter holds, for all reasons."""
    row = connection.execute(f"SELECT sum(refused) FROM refusals WHERE {_IS_COUNTER}", counter).fetchone()  # noqa: S608  a constant
    return int(row[0] or 0)


def taken(connection: sqlite3.Connection, counters: Iterable[Counter]) -> dict[Counter, int]:
    """Return what each counter holds."""
    return {counter: taken_or_none(connection, counter) or 0 for counter in counters}


def taken_or_none(connection: sqlite3.Connection, counter: Counter) -> int | None:
    """Return what a counter holds, None if nothing was ever counted in it."""
    row = connection.execute(f"SELECT taken FROM counters WHERE {_IS_COUNTER}", counter).fetchone()  # noqa: S608  a constant
    return int(row[0]) if row else None


def add_amounts(connection: sqlite3.Connection, amounts: Mapping[Counter, int]) -> None:
    """Add to each counter an amount of its own."""
    seen = last_seen(amounts)
    values = [value for counter, amount in amounts.items() for value in (*counter, amount, seen)]
    connection.execute(_addition(len(amounts)), values).fetchall()


def change_amounts(connection: sqlite3.Connection, amounts: Mapping[Counter, int]) -> None:
    """Change each counter that is there by an amount, never to less than nothing."""
    connection.executemany(
        f"UPDATE counters SET taken = max(0, taken + ?) WHERE {_IS_COUNTER}",  # noqa: S608  a constant
        [(amount, *counter) for counter, amount in amounts.items()],
    )


def note_prices(connection: sqlite3.Connection, counters: Iterable[Counter], date: str) -> None:
    """Note in counters of money the date of the prices by which was charged."""
    connection.executemany(
        f"UPDATE counters SET prices = ? WHERE {_IS_COUNTER} AND prices <> ?",  # noqa: S608  a constant
        [(date, *counter, date) for counter in counters],
    )


def prices(connection: sqlite3.Connection, counter: Counter) -> str:
    """Return the date that is noted in a counter, "" if none is."""
    row = connection.execute(f"SELECT prices FROM counters WHERE {_IS_COUNTER}", counter).fetchone()  # noqa: S608  a constant
    return str(row[0]) if row else ""


def _add(connection: sqlite3.Connection, counters: tuple[Counter, ...], step: int) -> dict[str, int]:
    """Add to each counter, in one statement: a statement of its own is half the cost of a counter."""
    seen = last_seen(counters)
    values = [value for counter in counters for value in (*counter, step, seen)]
    return dict(connection.execute(_addition(len(counters)), values).fetchall())


@lru_cache(maxsize=64)
def _addition(count: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)
    return (
        f"INSERT INTO counters (what, grant_name, principal, window, start, taken, seen) VALUES {rows}"  # noqa: S608  marks only
        " ON CONFLICT DO UPDATE SET taken = taken + excluded.taken, seen = max(seen, excluded.seen)"
        " RETURNING window, taken"
    )
