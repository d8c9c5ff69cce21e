"""What a policy changes in the state's rows: found while others write, and written in as short a transaction as it can be."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from chalicelib.policy import narrowing, stored
from chalicelib.policy.compile import Policy
from chalicelib.revocation import RevocationTarget

_ROWS = (
    "SELECT scope, id, config, issuer, key FROM things WHERE scope IN ('key', 'issuer', 'grant') AND config IS NOT NULL"
)
_CLEAR = "UPDATE things SET config = NULL, issuer = NULL, key = NULL WHERE scope = ? AND id = ?"
# A key's version is not the policy's: a key that is removed and comes back has the version it had.
_SET_KEY = (
    "INSERT INTO things (scope, id, config) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET config ="
    " CASE WHEN key_version IS NOT NULL"
    " THEN json_set(excluded.config, '$.version', json_extract(key_version, '$.version'))"
    " ELSE excluded.config END"
)
_SET = (
    "INSERT INTO things (scope, id, config, issuer, key) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " config = excluded.config, issuer = excluded.issuer, key = excluded.key"
)


class _Row(NamedTuple):
    """What a policy says in the row of a target. issuer, key: of a grant."""

    config: str
    issuer: str | None
    key: str | None


class Changes(NamedTuple):
    """What one policy changes of another: rows to clear, to set, and those whose epoch rises."""

    gone: list[RevocationTarget]
    keys: list[tuple[str, str, str]]
    others: list[tuple[str, str, str, str | None, str | None]]
    ended: list[RevocationTarget]


def changes(connection: sqlite3.Connection, policy: Policy) -> Changes:
    """Compare a policy with what is in force; that holds for as long as the policy's version is the same."""
    wanted = _rows(policy)
    in_force = {RevocationTarget(*row[:2]): _Row(*row[2:]) for row in connection.execute(_ROWS)}
    refused = narrowing.refused_values(policy)
    texts = {target: row.config for target, row in wanted.items()}
    return Changes(
        gone=[target for target in in_force if target not in wanted],
        # A key's row also changes when its value is set, so all of them are written; they are few.
        keys=[(*target, row.config) for target, row in wanted.items() if target.scope == "key"],
        others=[
            (*target, *row) for target, row in wanted.items() if target.scope != "key" and in_force.get(target) != row
        ],
        ended=[
            target
            for target, row in in_force.items()
            if target.scope != "key" and narrowing.epoch_rises(target, row.config, texts.get(target), refused)
        ],
    )


def write(connection: sqlite3.Connection, changed: Changes) -> None:
    """Write them in a transaction of the caller's."""
    connection.executemany("UPDATE things SET epoch = epoch + 1 WHERE scope = ? AND id = ?", changed.ended)
    connection.executemany(_CLEAR, changed.gone)
    connection.executemany(_SET_KEY, changed.keys)
    connection.executemany(_SET, changed.others)


def _rows(policy: Policy) -> dict[RevocationTarget, _Row]:
    found = {}
    for target, config in stored.configs(policy).items():
        grant = policy.grants[target.id] if target.scope == "grant" else None
        found[target] = _Row(config, grant.issuer if grant else None, grant.key if grant else None)
    return found
