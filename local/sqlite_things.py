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
    wanted = tuple(dict.fromkeys(things))
    marks = ",".join(["(?,?)"] * len(wanted))
    # `(scope, id) IN (VALUES …)` would read the whole table; a cross join is never turned round
    # (test_an_exchange_does_the_same_with_ten_thousand_grants_as_with_one).
    rows = connection.execute(
        f"WITH wanted (s, i) AS (VALUES {marks})"  # noqa: S608  marks only
        " SELECT scope, id, epoch, blocks, config FROM wanted CROSS JOIN things ON scope = s AND id = i",
        [part for thing in wanted for part in (thing.scope, thing.id)],
    )
    found = {(scope, thing_id): standing(epoch, blocks, config) for scope, thing_id, epoch, blocks, config in rows}
    return {thing: found.get((thing.scope, thing.id), NEVER_REVOKED) for thing in wanted}


@lru_cache(maxsize=4096)
def standing(epoch: int, blocks: str, config: str | None) -> Standing:
    """Make a standing of a row's columns. The same columns make the same standing, so that is done once."""
    ends = tuple(json.loads(blocks).items()) if blocks != "{}" else ()
    return Standing(epoch, ends, json.loads(config) if config is not None else None)
