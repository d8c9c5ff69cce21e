"""What administrators write, in SQLite: the policy, key versions, signing keys, bound identities; and revocations."""

from __future__ import annotations

import json
import sqlite3

from chalicelib.audit import Event
from chalicelib.policy import stored
from chalicelib.policy.compile import Policy
from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.plan import VERSIONS, AppliedPolicy, StoredPolicy
from chalicelib.providers.errors import KeyChanged, NoSuchKey
from chalicelib.providers.rotation import Management, Rotation
from chalicelib.providers.versions import KeyInfo, KeyVersion
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.tokens.errors import SigningKeysChanged
from chalicelib.tokens.key_list import SigningKeyList
from local.sqlite import audit_rows, policy_rows, target_rows
from local.sqlite.revocations import SqliteRevocations

_KEYS = (
    "SELECT id, json_extract(config, '$.provider'), key_version, json_extract(config, '$.rotate_after'), rotation, management,"
    " json_extract(config, '$.federated') FROM things WHERE scope = 'key' AND config IS NOT NULL"
)


class SqliteControl(SqliteRevocations):
    """Each method is one transaction with its audit event; config, blocks and epoch are written separately."""

    def current(self) -> StoredPolicy:
        """See `Policies.current`."""
        with self._state.reading() as connection:
            return _current(connection)

    def versions(self, below: int, limit: int = VERSIONS) -> tuple[AppliedPolicy, ...]:
        """See `Policies.versions`."""
        with self._state.reading() as connection:
            found = connection.execute(
                "SELECT version, author, at FROM policies WHERE version < ? ORDER BY version DESC LIMIT ?",
                (below, min(limit, VERSIONS)),
            )
            return tuple(AppliedPolicy(*row) for row in found)

    def version(self, number: int) -> StoredPolicy | None:
        """See `Policies.version`."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT version, text, author, at FROM policies WHERE version = ?", (number,)
            ).fetchone()
        return StoredPolicy(*row) if row else None

    def apply(self, policy: Policy, text: str, expected: int, event: Event) -> StoredPolicy:
        """See `Policies.apply`; here it is one transaction, so it is never in force in part."""
        with self._state.reading() as connection:
            _check_version(connection, expected)
            changed = policy_rows.changes(connection, policy)
        applied = StoredPolicy(expected + 1, text, event.actor, event.at)
        with self._state.writing() as connection:  # calls wait for its end
            _check_version(connection, expected)
            connection.execute(
                "INSERT INTO policies (version, text, author, at) VALUES (?, ?, ?, ?)",
                (applied.version, applied.text, applied.author, applied.at),
            )
            policy_rows.write(connection, changed)
            audit_rows.write(connection, event)
        return applied

    def holds(self, policy: Policy) -> bool:
        """Whether everything is as this policy, compiled, has it; raises Unavailable."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT scope, id, config FROM things WHERE scope IN ('key', 'issuer', 'grant') AND config IS NOT NULL"
            ).fetchall()
        held = {RevocationTarget(scope, name): json.loads(text) for scope, name, text in rows}
        for config in held.values():
            config.pop("version", None)  # of a key, which is not the policy's
        return held == {target: json.loads(text) for target, text in stored.configs(policy).items()}

    def pin(self, principal: str, unique_id: str, event: Event) -> None:
        """See `Pins.pin`."""
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO pins (principal, unique_id, at) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET unique_id = excluded.unique_id, at = excluded.at",
                (principal, unique_id, event.at),
            )
            audit_rows.write(connection, event)

    def keys(self, event: Event) -> tuple[KeyInfo, ...]:
        """See `Keys.keys`."""
        with self._state.writing() as connection:
            rows = connection.execute(f"{_KEYS} ORDER BY id").fetchall()
            audit_rows.write(connection, event)
        return tuple(map(_key_info, rows))

    def known_keys(self) -> tuple[KeyInfo, ...]:
        """See `Keys.known_keys`."""
        with self._state.reading() as connection:
            return tuple(map(_key_info, connection.execute(f"{_KEYS} ORDER BY id").fetchall()))

    def key_info(self, name: str) -> KeyInfo | None:
        """See `Keys.key_info`."""
        with self._state.reading() as connection:
            row = connection.execute(f"{_KEYS} AND id = ?", (name,)).fetchone()
        return _key_info(row) if row else None

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        """See `Keys.set_key`."""
        with self._state.writing() as connection:
            row = connection.execute(f"{_KEYS} AND id = ?", (name,)).fetchone()
            if row is None:
                raise NoSuchKey(name)
            current = _key_info(row).current
            if replaces is not None and replaces != (current.version if current else ""):
                raise KeyChanged
            connection.execute(
                "UPDATE things SET key_version = ?, config = json_set(config, '$.version', ?)"
                " WHERE scope = 'key' AND id = ?",
                (json.dumps(version.to_json()), version.version, name),
            )
            audit_rows.write(connection, event)

    def change_key(self, before: KeyInfo, after: KeyInfo, event: Event | None = None) -> None:
        """See `Keys.change_key`."""
        with self._state.writing() as connection:
            row = connection.execute(f"{_KEYS} AND id = ?", (before.name,)).fetchone()
            if row is None:
                raise NoSuchKey(before.name)
            found = _key_info(row)
            if (found.current, found.rotation, found.management) != (
                before.current,
                before.rotation,
                before.management,
            ):
                raise KeyChanged
            connection.execute(
                "UPDATE things SET key_version = ?, rotation = ?, management = ?, config = json_set(config, '$.version', ?)"
                " WHERE scope = 'key' AND id = ?",
                (
                    json.dumps(after.current.to_json()) if after.current else None,
                    after.rotation.to_text() if after.rotation else None,
                    after.management.to_text() if after.management else None,
                    after.current.version if after.current else "",
                    before.name,
                ),
            )
            if event:
                audit_rows.write(connection, event)

    def list_signing_keys(self, kids: tuple[str, ...]) -> None:
        """List the live signing keys; a token signed with any other is refused from the next call on."""
        with self._state.writing() as connection:
            _list_signing_keys(connection, _signing_key_list(connection).listing(kids))

    def signing_key_list(self) -> SigningKeyList:
        """See `SigningKeyLists.signing_key_list`."""
        with self._state.reading() as connection:
            return _signing_key_list(connection)

    def change_signing_keys(self, before: SigningKeyList, after: SigningKeyList, event: Event) -> None:
        """See `SigningKeyLists.change_signing_keys`."""
        with self._state.writing() as connection:
            if _signing_key_list(connection) != before:
                raise SigningKeysChanged
            _list_signing_keys(connection, after)
            audit_rows.write(connection, event)


def _current(connection: sqlite3.Connection) -> StoredPolicy:
    row = connection.execute("SELECT version, text, author, at FROM policies ORDER BY version DESC LIMIT 1").fetchone()
    return StoredPolicy(*row) if row else StoredPolicy(0, "", "", 0)


_Row = tuple[str, str, str | None, int | None, str | None, str | None, str | None]


def _key_info(row: _Row) -> KeyInfo:
    name, provider, version, rotate_after, rotation, management, federated = row
    return KeyInfo(
        name,
        provider,
        KeyVersion.from_json(json.loads(version)) if version else None,
        rotate_after,
        Rotation.from_text(rotation) if rotation else None,
        Management.from_text(management) if management else None,
        json.loads(federated) if federated else None,
    )


def _signing_key_list(connection: sqlite3.Connection) -> SigningKeyList:
    config = target_rows.read(connection, [EVERYTHING])[EVERYTHING].config
    return SigningKeyList.from_text(config) if config else SigningKeyList()


def _list_signing_keys(connection: sqlite3.Connection, keys: SigningKeyList) -> None:
    connection.execute(
        "INSERT INTO things (scope, id, config) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET config = excluded.config",
        (*EVERYTHING, keys.to_text()),
    )


def _check_version(connection: sqlite3.Connection, expected: int) -> None:
    version = connection.execute("SELECT coalesce(max(version), 0) FROM policies").fetchone()[0]
    if version != expected:
        raise PolicyChanged(expected, version)
