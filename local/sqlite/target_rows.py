"""Rows of revocation targets, and the typed values that they hold."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from chalicelib.issuers.registry import Issuer
from chalicelib.policy import stored
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.revocation import EVERYTHING, RevocationState, RevocationTarget


class Row(NamedTuple):
    """A target's row. config: the text of `chalicelib.policy.stored`, None if the policy names no such target."""

    state: RevocationState
    config: str | None

    def grant(self) -> Grant | None:
        """Return the grant that the row holds."""
        return stored.read_grant(self.config) if self.config else None

    def issuer(self) -> Issuer | None:
        """Return the OIDC issuer that the row holds."""
        return stored.read_issuer(self.config) if self.config else None

    def key_config(self) -> KeyConfig | None:
        """Return the key that the row holds; its version is within the text here."""
        return stored.read_key(self.config) if self.config else None

    def signing_keys(self) -> tuple[str, ...]:
        """Return the `kid`s of the live signing keys, which the row of everything lists."""
        return stored.read_signing_keys(self.config) if self.config else ()

    def signs(self) -> str:
        """Return the `kid` of the key that signs, "" if the row of everything names none."""
        return stored.read_signs(self.config) if self.config else ""


_EXACT = 8
"""Targets that are asked for as many as they are; more are filled up to a multiple of it."""
ABSENT = Row(RevocationState(), None)
"""What a target without a row counts as: never revoked, and not there."""


def read(connection: sqlite3.Connection, targets: Iterable[RevocationTarget]) -> dict[RevocationTarget, Row]:
    """Return the row of each target, ABSENT for one that has none."""
    found = dict.fromkeys(targets, ABSENT)
    values = [part for target in found for part in target]
    count = len(found)
    if count > _EXACT:  # those of several calls: few statements, of which SQLite keeps what it has made of them
        count += -count % _EXACT
        values += [*EVERYTHING] * (count - len(found))
    for scope, target_id, *columns in connection.execute(_query(count), values):
        found[scope, target_id] = row(*columns)  # type: ignore[index]  # equal to its target, and made in half the time
    return found


def exists(connection: sqlite3.Connection, target: RevocationTarget) -> bool:
    """Whether a target has a row."""
    return connection.execute("SELECT 1 FROM things WHERE scope = ? AND id = ?", target).fetchone() is not None


@lru_cache(maxsize=64)
def _query(count: int) -> str:
    """Return the statement that reads so many targets."""
    # `(scope, id) IN (VALUES …)` would read the whole table; a cross join is never turned round
    # (test_an_exchange_does_the_same_with_ten_thousand_grants_as_with_one).
    marks = ",".join(["(?,?)"] * count)
    return (
        f"WITH wanted (s, i) AS (VALUES {marks})"  # noqa: S608  marks only
        " SELECT scope, id, epoch, blocks, config FROM wanted CROSS JOIN things ON scope = s AND id = i"
    )


@lru_cache(maxsize=4096)
def row(epoch: int, blocks: str, config: str | None) -> Row:
    """Make a row of its columns. Cached: a pure function of them, and every call reads the same few."""
    ends = tuple(json.loads(blocks).items()) if blocks != "{}" else ()
    return Row(RevocationState(epoch, ends), config)
