"""Rows of things that can be stopped, as standings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from chalicelib.revocation import Standing, Thing

NEVER_REVOKED = Standing()


def read(connection: sqlite3.Connection, things: Iterable[Thing]) -> dict[Thing, Standing]:
    """Return how each thing stands; one without a row was never revoked and has no config."""
    wanted = tuple(dict.fromkeys(things))
    marks = ",".join(["(?,?)"] * len(wanted))
    rows = connection.execute(
        f"SELECT scope, id, epoch, blocks, config FROM things WHERE (scope, id) IN (VALUES {marks})",  # noqa: S608  marks only
        [part for thing in wanted for part in (thing.scope, thing.id)],
    )
    found = {Thing(scope, thing_id): standing(epoch, blocks, config) for scope, thing_id, epoch, blocks, config in rows}
    return {thing: found.get(thing, NEVER_REVOKED) for thing in wanted}


def standing(epoch: int, blocks: str, config: str | None) -> Standing:
    """Make a standing of a row's columns."""
    ends = tuple(json.loads(blocks).items()) if blocks != "{}" else ()
    return Standing(epoch, ends, json.loads(config) if config is not None else None)
