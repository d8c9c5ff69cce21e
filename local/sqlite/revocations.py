"""Revocations in SQLite."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from chalicelib.audit import Event
from chalicelib.errors import NoSuchTarget
from chalicelib.revocation import (
    MUST_EXIST,
    Revocation,
    RevocationPage,
    RevocationState,
    RevocationTarget,
    detail,
    read_cursor,
)
from local.sqlite import audit_rows, target_rows
from local.sqlite.state_file import StateFile

_COLUMNS = "id, scope, target, reason, author, at, until, lifted_at, lifted_by"
# SECURITY: a wall clock that is behind for a moment must not make a revocation look old
# (test_a_revocation_made_while_the_clock_was_behind_is_kept).
_KEPT_FROM = "max(?, coalesce((SELECT time FROM clock), 0))"


class SqliteRevocations:
    """Each method is one transaction with its audit event; config, blocks and epoch are written separately."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def revoke(self, revocation: Revocation, event: Event) -> Revocation:
        """See `Revocations.revoke`."""
        with self._state.writing() as connection:
            _check_known(connection, revocation)
            made = connection.execute(
                f"INSERT OR IGNORE INTO revocations ({_COLUMNS}, kept_from)"  # noqa: S608  a constant
                f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {_KEPT_FROM})",
                (*revocation, revocation.at),
            ).rowcount
            if not made:
                return _stored(connection, revocation.id) or revocation
            block = json.dumps({revocation.id: revocation.until})
            # json_patch drops members that are null, so an endless block is set with json_set.
            connection.execute(
                "INSERT INTO things (scope, id, epoch, blocks) VALUES (?, ?, 1, ?)"
                " ON CONFLICT DO UPDATE SET epoch = epoch + 1, blocks = json_set(blocks, ?, ?)",
                (revocation.scope, revocation.target, block, f'$."{revocation.id}"', revocation.until),
            )
            audit_rows.write(connection, event)
        return revocation

    def restore(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """See `Revocations.restore`."""
        with self._state.writing() as connection:
            changed = connection.execute(
                "UPDATE revocations SET lifted_at = ?, lifted_by = ? WHERE id = ? AND lifted_at IS NULL",
                (event.at, author, revocation_id),
            ).rowcount
            revocation = _stored(connection, revocation_id)
            if revocation is None:
                return None
            if changed:
                connection.execute(
                    "UPDATE things SET blocks = json_remove(blocks, ?) WHERE scope = ? AND id = ?",
                    (f'$."{revocation_id}"', revocation.scope, revocation.target),
                )
                principal = revocation.target if revocation.scope == "principal" else ""
                audit_rows.write(connection, replace(event, principal=principal, detail=detail(revocation)))
        return revocation

    def revocations(self, scope: str, after: str, limit: int) -> RevocationPage:
        """See `Revocations.revocations`."""
        at, last = read_cursor(after)
        with self._state.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM revocations WHERE (scope = ? OR ? = '' AND scope <> 'token')"  # noqa: S608  a constant
                " AND (at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT ?",
                (scope, scope, at, last, limit + 1),
            ).fetchall()
        return RevocationPage.from_newest([Revocation(*row) for row in rows], limit)

    def revocation(self, revocation_id: str) -> Revocation | None:
        """See `Revocations.revocation`."""
        with self._state.reading() as connection:
            return _stored(connection, revocation_id)

    def revocation_state(self, target: RevocationTarget) -> RevocationState:
        """See `Revocations.revocation_state`."""
        with self._state.reading() as connection:
            return target_rows.read(connection, [target])[target].state

    def exists(self, target: RevocationTarget) -> bool:
        """See `Revocations.exists`."""
        with self._state.reading() as connection:
            return target_rows.exists(connection, target)


def _stored(connection: sqlite3.Connection, revocation_id: str) -> Revocation | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM revocations WHERE id = ?", (revocation_id,)).fetchone()  # noqa: S608  a constant
    return Revocation(*row) if row else None


def _check_known(connection: sqlite3.Connection, revocation: Revocation) -> None:
    # SECURITY: a misspelt name must not be answered "in force" (test_what_nobody_knows_cannot_be_revoked).
    if revocation.scope not in MUST_EXIST:
        return
    if not target_rows.exists(connection, RevocationTarget(revocation.scope, revocation.target)):
        raise NoSuchTarget(revocation.scope, revocation.target)
