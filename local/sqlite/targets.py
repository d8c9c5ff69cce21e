"""Rows of things that can be stopped, as standings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from functools import lru_cache

from chalicelib.revocation import Standing, Thing

NEVER_REVOKED = Standing()


def read(connection: sqlite3.Connection, things: Iterable[Thing]) -> dict[Thing, Standing]:
    """Return how each thing stands; one without a row was never revoked and has no config."""
    standings = dict.fromkeys(things, NEVER_REVOKED)
    rows = connection.execute(_query(len(standings)), [part for thing in standings for part in thing])
    for scope, thing_id, *columns in rows:
        standings[Thing(scope, thing_id)] = standing(*columns)
    return standings


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
def standing(epoch: int, blocks: str, config: str | None) -> Standing:
    """Make a standing of a row's columns. The same columns make the same standing, so that is done once."""
    ends = tuple(json.loads(blocks).items()) if blocks != "{}" else ()
    return Standing(epoch, ends, json.loads(config) if config is not None else None)
