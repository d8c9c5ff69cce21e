"""What makes a state file of the past safe to serve again: no token of before, and no "no" forgotten that is still known."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from chalicelib.audit import Event
from chalicelib.revocation import EVERYTHING
from chalicelib.tokens.key_list import SigningKeyList
from local.sqlite import audit_rows, schema
from local.sqlite.state_file import StateFile

_EPOCH = "SELECT coalesce(max(epoch), 0) FROM things WHERE scope = ? AND id = ?"
_IN_FORCE = (
    "SELECT id, scope, target, reason, author, at, until FROM revocations"
    " WHERE lifted_at IS NULL AND scope <> 'token' AND (until IS NULL OR until > ?)"
)
_COUNTED = "what, grant_name, principal, window, start"
_COUNTS = {
    "counters": (f"{_COUNTED}, key, name", "taken, seen"),
    "refusals": (f"{_COUNTED}, reason", "refused"),
    "answers": (
        "principal, grant_name, key, model, window, start",
        "answers, unknown, input_tokens, output_tokens, cached_tokens",
    ),
}
"""By table, the columns that stay, and the numbers of which the larger one is right."""


class Carried(NamedTuple):
    """What the state that is replaced knew and the restored one did not, and now does."""

    revocations: int = 0
    events: int = 0


class Restored(NamedTuple):
    """How a state was restored. policy: the version in force; was: that of the state it replaces, 0 if unknown."""

    epoch: int
    policy: int
    was: int
    keys: tuple[str, ...]
    """Keys of which another value was in force in the state that is replaced."""
    carried: Carried | None
    """None if that state could not be read, or was another installation's."""
    newer: bool = False
    """Whether that state was of a newer Keybroker, of which only what this one knows was carried over."""


class _DamagedError(Exception):
    """The state to be replaced cannot be read."""


def make_safe(state: StateFile, old: sqlite3.Connection | None, now_ms: int, event: Event) -> Restored:
    """End every token that was ever issued, and carry over what `old`, the state to be replaced, still refuses.

    now_ms: milliseconds since 1970. Raises Unavailable.
    """
    with state.writing() as connection:
        carried, was, old_epoch, keys = _from(old, connection, event.at)
        # SECURITY: above all that any state after this backup can have come to by counting, also on a machine that is gone:
        # revocations raise it by one each, and no installation makes a thousand a second for its whole life
        # (test_no_token_revives, test_a_second_restore_is_above_the_first).
        epoch = max(now_ms, 1 + max(old_epoch, _number(connection, _EPOCH, *EVERYTHING)))
        connection.execute(
            "INSERT INTO things (scope, id, epoch) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch",
            (*EVERYTHING, epoch),
        )
        audit_rows.write(connection, event)
        return Restored(epoch, _policy(connection), was, keys, carried, old is not None and _is_newer(old))


def _from(
    old: sqlite3.Connection | None, connection: sqlite3.Connection, now: int
) -> tuple[Carried | None, int, int, tuple[str, ...]]:
    """Carry over from the old state; return what, its policy's version, its epoch of everything, and the keys that differ."""
    if old is None:
        return None, 0, 0, ()
    connection.execute("SAVEPOINT carried")
    try:
        epoch = _number(old, _EPOCH, *EVERYTHING)
        was, now_has = _signing_keys(old), _signing_keys(connection)
        if _is_same_installation(was, now_has):
            _carry_taints(was, now_has, connection)
            return _carry_over(old, connection, now), _policy(old), epoch, _other_keys(old, connection)
    except _DamagedError:  # that is what a backup is for
        connection.execute("ROLLBACK TO carried")
        return None, 0, 0, ()
    return None, 0, epoch, ()


def _rows(connection: sqlite3.Connection, statement: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
    try:
        yield from connection.execute(statement, values)
    except sqlite3.Error as error:
        raise _DamagedError from error


def _signing_keys(connection: sqlite3.Connection) -> SigningKeyList:
    rows = list(_rows(connection, "SELECT config FROM things WHERE scope = ? AND id = ?", EVERYTHING))
    return SigningKeyList.from_text(rows[0][0]) if rows and rows[0][0] else SigningKeyList()


def _is_same_installation(one: SigningKeyList, other: SigningKeyList) -> bool:
    """Whether these are lists of the same installation, at two times: they have a key in common, live or tainted."""
    known, others = ({*keys.live, *keys.tainted} for keys in (one, other))
    return known == others or not known.isdisjoint(others)


def _carry_taints(old: SigningKeyList, keys: SigningKeyList, connection: sqlite3.Connection) -> None:
    # SECURITY: a key that was tainted after the backup stays so: who has it could sign tokens of any epoch
    # (test_a_tainted_key_stays_so_after_a_restore).
    tainted = {**keys.tainted, **old.tainted}
    live = tuple(kid for kid in keys.live if kid not in tainted)
    signs = keys.signs if keys.signs in live else ""
    changed = keys._replace(live=live, signs=signs, tainted=tainted)
    if changed != keys:
        connection.execute("UPDATE things SET config = ? WHERE scope = ? AND id = ?", (changed.to_text(), *EVERYTHING))


def _carry_over(old: sqlite3.Connection, connection: sqlite3.Connection, now: int) -> Carried:
    try:
        events = audit_rows.carry_over(old, connection)
    except sqlite3.Error as error:
        raise _DamagedError from error
    # SECURITY: a lock that was taken over since is the one that is held (test_a_lock_that_was_taken_over_stays).
    connection.executemany(
        "INSERT INTO locks (id, expires, idempotency, request, claims) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET expires = excluded.expires, idempotency = excluded.idempotency, request = excluded.request,"
        " claims = excluded.claims WHERE excluded.expires > locks.expires",
        _rows(old, "SELECT id, expires, idempotency, request, claims FROM locks"),
    )
    connection.executemany(
        "INSERT INTO pins (principal, unique_id, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
        " SET unique_id = excluded.unique_id, at = excluded.at WHERE excluded.at > pins.at",
        _rows(old, "SELECT principal, unique_id, at FROM pins"),
    )
    there = {name for (name,) in _rows(old, "SELECT name FROM sqlite_schema")}  # an older version has fewer tables
    for table in _COUNTS.keys() & there:
        columns, numbers = _COUNTS[table]
        rows = _rows(old, f"SELECT {columns}, {numbers} FROM {table}")  # noqa: S608  constants
        connection.executemany(_larger(table, columns, numbers), rows)
    revocations = sum(_carry_revocation(connection, row) for row in _rows(old, _IN_FORCE, (now,)))
    return Carried(revocations, events)


def _larger(table: str, columns: str, numbers: str) -> str:
    marks = ", ".join("?" * len([*columns.split(", "), *numbers.split(", ")]))
    larger = ", ".join(f"{one} = max({one}, excluded.{one})" for one in numbers.split(", "))
    return f"INSERT INTO {table} ({columns}, {numbers}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {larger}"  # noqa: S608  constants


def _carry_revocation(connection: sqlite3.Connection, row: tuple[str, str, str, str, str, int, int | None]) -> int:
    """Put a revocation in force unless it is there; return how many that was."""
    made = connection.execute(
        "INSERT OR IGNORE INTO revocations (id, scope, target, reason, author, at, until, kept_from)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, row[5]),
    ).rowcount
    if made:
        revocation_id, scope, target, until = row[0], row[1], row[2], row[6]
        connection.execute(
            "INSERT INTO things (scope, id, epoch, blocks) VALUES (?, ?, 1, ?)"
            " ON CONFLICT DO UPDATE SET blocks = json_set(blocks, ?, ?)",
            (scope, target, json.dumps({revocation_id: until}), f'$."{revocation_id}"', until),
        )
    return made


def _is_newer(old: sqlite3.Connection) -> bool:
    try:
        return _number(old, "PRAGMA user_version") > schema.VERSION
    except _DamagedError:
        return False


def _other_keys(old: sqlite3.Connection, connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of keys of which another version was in force."""
    versions = (
        "SELECT id, json_extract(key_version, '$.version') FROM things WHERE scope = 'key' AND config IS NOT NULL"
    )
    before, now = dict(_rows(old, versions)), dict(_rows(connection, versions))
    return tuple(sorted(name for name in before if before[name] != now.get(name)))


def _policy(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT coalesce(max(version), 0) FROM policies")


def _number(connection: sqlite3.Connection, statement: str, *values: str) -> int:
    return next(int(row[0]) for row in _rows(connection, statement, values))
