"""What the state file says that is watched as numbers: how old keys are, and whether a principal does what it never did.

All of it is read without a name of a principal's, and by keys of the tables, so that a look takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from chalicelib.quota import EVERYBODY
from local.sqlite.state_file import StateFile

LEAST: Final = 100
"""Calls of a day below which nobody is compared with anything."""
DAYS: Final = 28
"""Days that a principal's day is compared with."""
_DAY: Final = 86400

_KEYS = (
    "SELECT id, config, key_version FROM things WHERE scope = 'key' AND config IS NOT NULL AND key_version IS NOT NULL"
)
_FIRST_USES = """
SELECT key, count(DISTINCT principal) FROM counters AS today
WHERE window = 'day' AND start = :day AND what = 'tokens' AND key <> '' AND principal <> :everybody
    AND NOT EXISTS (SELECT 1 FROM counters AS one WHERE one.principal = today.principal
        AND one.grant_name = today.grant_name AND one.what = 'tokens' AND one.window = 'day' AND one.start < :day
        AND one.key = today.key)
    AND NOT EXISTS (SELECT 1 FROM counters AS one WHERE one.principal = today.principal
        AND one.what = 'tokens' AND one.window = 'day' AND one.start < :day AND one.key = today.key)
GROUP BY key
"""
"""The first look is by the whole key of the table, and ends the search for all but those that are new."""
_OVER_OWN = """
SELECT max(calls * 1.0 / busiest) FROM (
    SELECT taken AS calls, (
        SELECT max(taken) FROM counters AS one WHERE one.principal = today.principal
            AND one.grant_name = today.grant_name AND one.what = 'calls' AND one.window = 'day'
            AND one.start >= :first AND one.start < :day) AS busiest
    FROM counters AS today
    WHERE window = 'day' AND start = :day AND what = 'calls' AND taken >= :least AND principal <> :everybody)
WHERE busiest > 0
"""


def keys_set(state: StateFile) -> Mapping[str, tuple[int, int | None]]:
    """Return when the version of each key in force was set, and when it is due, None if the policy does not say; raises Unavailable."""
    with state.reading() as connection:
        rows = connection.execute(_KEYS).fetchall()
    found = {}
    for name, config, version in rows:
        at, after = int(json.loads(version)["at"]), json.loads(config).get("rotate_after")
        found[name] = at, at + after if after else None
    return found


def credentials_end(state: StateFile) -> dict[str, int]:
    """Return when the minted credential of each key ends (epoch seconds), of those that have one."""
    with state.reading() as connection:
        rows = connection.execute(
            "SELECT id, json_extract(key_version, '$.expires') AS ends FROM things"
            " WHERE scope = 'key' AND config IS NOT NULL AND ends > 0"
        ).fetchall()
    return {name: int(ends) for name, ends in rows}


def first_uses(state: StateFile, now: int) -> Mapping[str, int]:
    """Return how many principals got a token for a key today and none in the days before, by key; raises Unavailable."""
    with state.reading() as connection:
        rows = connection.execute(_FIRST_USES, {"day": now - now % _DAY, "everybody": EVERYBODY})
        return dict(rows.fetchall())


def over_own_weeks(state: StateFile, now: int) -> float:
    """Return today's calls of a principal beside the busiest day of its own last weeks: the most of all; raises Unavailable.

    Those without a day before are not compared: they are first uses.
    """
    day = now - now % _DAY
    told = {"day": day, "first": day - DAYS * _DAY, "least": LEAST, "everybody": EVERYBODY}
    with state.reading() as connection:
        found = connection.execute(_OVER_OWN, told).fetchone()[0]
    return float(found or 0.0)
