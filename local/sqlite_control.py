"""What administrators write, in SQLite: revocations, the policy, and which keys there are."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from chalicelib.audit import Event
from chalicelib.errors import Refusal
from chalicelib.plan import StoredPolicy, policy_changed
from chalicelib.policy import Policy
from chalicelib.principal import AWS
from chalicelib.revocation import EVERYTHING, Revocation, detail
from local.sqlite import StateFile
from local.sqlite_ledger import write_event

_NAMED = ("issuer", "key", "grant")
"""Scopes of things that the policy names."""


class SqliteControl:
    """Each method is one transaction with its audit event; config, block and epoch are written one by one."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def revoke(self, revocation: Revocation, event: Event) -> None:
        """See `Revocations.revoke`. Raises Refusal `no_such_thing`: no issuer, key or grant ever had this name."""
        with self._state.writing() as connection:
            _check_known(connection, revocation)
            made = connection.execute(
                "INSERT OR IGNORE INTO revocations (id, scope, target, reason, author, at, until) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    revocation.id,
                    revocation.scope,
                    revocation.target,
                    revocation.reason,
                    revocation.author,
                    revocation.at,
                    revocation.until,
                ),
            ).rowcount
            if not made:
                return
            block = json.dumps({revocation.id: revocation.until})
            # json_patch drops members that are null, so an endless block is set with json_set.
            connection.execute(
                "INSERT INTO things (scope, id, epoch, blocks) VALUES (?, ?, 1, ?)"
                " ON CONFLICT DO UPDATE SET epoch = epoch + 1, blocks = json_set(blocks, ?, ?)",
                (revocation.scope, revocation.target, block, f'$."{revocation.id}"', revocation.until),
            )
            write_event(connection, event)

    def lift(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """See `Revocations.lift`."""
        with self._state.writing() as connection:
            changed = connection.execute(
                "UPDATE revocations SET lifted_at = ?, lifted_by = ? WHERE id = ? AND lifted_at IS NULL",
                (event.at, author, revocation_id),
            ).rowcount
            row = connection.execute(
                "SELECT id, scope, target, reason, author, at, until, lifted_at, lifted_by FROM revocations"
                " WHERE id = ?",
                (revocation_id,),
            ).fetchone()
            if row is None:
                return None
            revocation = Revocation(*row)
            if changed:
                connection.execute(
                    "UPDATE things SET blocks = json_remove(blocks, ?) WHERE scope = ? AND id = ?",
                    (f'$."{revocation_id}"', revocation.scope, revocation.target),
                )
                principal = revocation.target if revocation.scope == "principal" else ""
                write_event(connection, replace(event, principal=principal, detail=detail(revocation)))
        return revocation

    def current(self) -> StoredPolicy:
        """See `Policies.current`."""
        with self._state.reading() as connection:
            return _current(connection)

    def apply(self, policy: Policy, text: str, expected: int, event: Event) -> StoredPolicy:
        """See `Policies.apply`; here it is one transaction, so it is never in force in part."""
        with self._state.writing() as connection:
            version = _current(connection).version
            if version != expected:
                raise policy_changed(expected, version)
            stored = StoredPolicy(version + 1, text, event.actor, event.at)
            connection.execute(
                "INSERT INTO policies (version, text, author, at) VALUES (?, ?, ?, ?)",
                (stored.version, stored.text, stored.author, stored.at),
            )
            keep = {
                "key": {name: {"provider": provider} for name, provider in policy.keys.items()},
                "issuer": {one.url: one.to_json() for one in policy.issuers.values()} | {AWS: {"name": AWS}},
                "grant": {name: one.to_json() for name, one in policy.grants.items()},
            }
            for scope, configs in keep.items():
                _set_configs(connection, scope, configs)
            connection.executemany(
                "UPDATE things SET issuer = ?, key = ? WHERE scope = 'grant' AND id = ?",
                [(grant.issuer, grant.key, name) for name, grant in policy.grants.items()],
            )
            write_event(connection, event)
        return stored

    def pin(self, principal: str, unique_id: str, event: Event) -> None:
        """See `Pins.pin`."""
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO pins (principal, unique_id, at) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET unique_id = excluded.unique_id, at = excluded.at",
                (principal, unique_id, event.at),
            )
            write_event(connection, event)

    def set_key_version(self, name: str, version: str, event: Event) -> None:
        """Say which version of a provider key is in force; the key must be one of the policy's."""
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE things SET config = json_set(config, '$.version', ?) WHERE scope = 'key' AND id = ?",
                (version, name),
            )
            write_event(connection, event)

    def list_signing_keys(self, kids: tuple[str, ...]) -> None:
        """Say which signing keys are live; a token signed with any other is refused."""
        config = json.dumps({"signing": list(kids)})
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO things (scope, id, config) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET config = excluded.config",
                (EVERYTHING.scope, EVERYTHING.id, config),
            )


def _current(connection: sqlite3.Connection) -> StoredPolicy:
    row = connection.execute("SELECT version, text, author, at FROM policies ORDER BY version DESC LIMIT 1").fetchone()
    return StoredPolicy(*row) if row else StoredPolicy(0, "", "", 0)


def _check_known(connection: sqlite3.Connection, revocation: Revocation) -> None:
    # SECURITY: a misspelt name must not be answered "in force" (test_what_nobody_knows_cannot_be_revoked). Principals
    # and tokens are revoked unseen, for they may be about to call for the first time.
    if revocation.scope not in _NAMED:
        return
    row = connection.execute(
        "SELECT 1 FROM things WHERE scope = ? AND id = ?", (revocation.scope, revocation.target)
    ).fetchone()
    if row is None:
        text = f"there is no {revocation.scope} of this name: {revocation.target[:100]!r}"
        raise Refusal("no_such_thing", "not_found", 404, text)


def _set_configs(connection: sqlite3.Connection, scope: str, configs: Mapping[str, object]) -> None:
    names = json.dumps(list(configs))
    connection.execute(
        "UPDATE things SET config = NULL, issuer = NULL, key = NULL"
        " WHERE scope = ? AND id NOT IN (SELECT value FROM json_each(?))",
        (scope, names),
    )
    for name, config in configs.items():
        # A key's version is not the policy's: it stays as it was set with the value.
        connection.execute(
            "INSERT INTO things (scope, id, config) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET config ="
            " CASE WHEN things.scope = 'key' AND json_extract(things.config, '$.version') IS NOT NULL"
            " THEN json_set(excluded.config, '$.version', json_extract(things.config, '$.version'))"
            " ELSE excluded.config END",
            (scope, name, json.dumps(config)),
        )
