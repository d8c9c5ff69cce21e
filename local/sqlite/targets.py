"""Rows of things that can be stopped, as standings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache

from chalicelib.revocation import RevocationState, RevocationTarget

NEVER_REVOKED = RevocationState()


def read(
    connection: sqlite3.Connection, targets: Iterable[RevocationTarget]
) -> dict[RevocationTarget, RevocationState]:
    """Return how each thing stands; one without a row was never revoked and has no config."""
    revocation_states = dict.fromkeys(targets, NEVER_REVOKED)
    rows = connection.execute(_query(len(revocation_states)), [part for target in revocation_states for part in target])
    for scope, thing_id, *columns in rows:
        revocation_states[RevocationTarget(scope, thing_id)] = revocation_state(*columns)
    return revocation_states


@lru_cache(maxsize=64)
def _query(count: int) -> str:
    """Return what reads so many things."""
    # `(scope, id) IN (VALUES …)` would read the whole table; a cross join is never turned round
    # (test_an_exchange_does_the_same_with_ten_thousand_grants_as_with_one).
    marks = ",".join(["(?,?)"] * count)
    return (
        f"WITH wanted (s, i) AS (VALUES {marks})"  # noqa: S608  marks only
        " SELECT scope, id, epoch, blocks, config FROM wanted CROSS JOIN things ON scope = s AND id = i"
    )


@lru_cache(maxsize=4096)
def revocation_state(epoch: int, blocks: str, config: str | None) -> RevocationState:
    """Make a standing of a row's columns. The same columns make the same standing, so that is done once."""
    ends = tuple(json.loads(blocks).items()) if blocks != "{}" else ()
    return RevocationState(epoch, ends, json.loads(config) if config is not None else None)
