"""Usage in SQLite: `chalicelib.usage.Usage`, from the rows that quotas are counted with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from chalicelib.quota import EVERYBODY, WINDOWS, read_cursor_key
from chalicelib.usage import RECENT_SECONDS, UsagePage, UsageQuery, Use, window_start
from local.sqlite import answer_usage, budgets
from local.sqlite.state_file import StateFile

_USES = """
WITH rows AS (
    SELECT principal, grant_name, max(seen) AS seen,
        sum(iif(what = 'tokens', taken, 0)) AS tokens, sum(iif(what = 'calls', taken, 0)) AS calls
    FROM (
        SELECT principal, grant_name, what, taken, seen FROM counters
        WHERE window = :window AND start = :start AND principal <> :everybody {narrowed}
        UNION ALL SELECT principal, grant_name, 'answers', 0, :start FROM answers
        WHERE window = :window AND start = :start AND :models {narrowed})
    GROUP BY principal, grant_name),
labelled AS (
    SELECT *,
        (SELECT key FROM counters AS one WHERE one.principal = rows.principal AND one.grant_name = rows.grant_name
            AND what = 'tokens' AND window = 'day' ORDER BY start DESC LIMIT 1) AS key,
        (SELECT name FROM counters AS one WHERE one.principal = rows.principal AND one.grant_name = rows.grant_name
            AND what = 'tokens' AND window = 'day' ORDER BY start DESC LIMIT 1) AS name
    FROM rows)
SELECT principal, grant_name, coalesce(key, ''), coalesce(name, ''), tokens, calls, seen FROM labelled
WHERE :key = '' OR key = :key ORDER BY principal, grant_name LIMIT :limit
"""


_NARROWED = "AND (:grant = '' OR grant_name = :grant) AND (principal, grant_name) > (:after_principal, :after_grant)"


class SqliteUsage:
    """Over the state file."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def uses(self, query: UsageQuery) -> UsagePage:
        """See `Usage.uses`."""
        after_principal, after_grant = read_cursor_key(query.after)
        wanted = {
            "window": query.window,
            "start": query.start,
            "everybody": EVERYBODY,
            "principal": query.principal,
            "grant": query.grant,
            "key": query.key,
            "after_principal": after_principal,
            "after_grant": after_grant,
            "models": query.models,
            "limit": query.limit + 1,
        }
        with self._state.reading() as connection:
            rows = connection.execute(_USES.format(narrowed=_NARROWED + _of_principal(query)), wanted).fetchall()
            found = [_use(connection, query, row) for row in rows[: query.limit]]
        return UsagePage(tuple(found), found[-1].cursor_key() if len(rows) > query.limit else "")

    def own(self, principal: str, grant: str, now: int) -> Mapping[str, Use]:
        """See `OwnUsage.own`."""
        found: dict[str, Use] = {}
        for window in WINDOWS:
            start, models = window_start(window, now), window != "minute"
            asked = UsageQuery(window, start, principal, grant, limit=1, now=now, models=models)
            page = self.uses(asked)
            found[window] = page.uses[0] if page.uses else Use(principal, grant)
        return found

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """See `Usage.recent_calls`."""
        first = window_start("minute", now) - RECENT_SECONDS
        with self._state.reading() as connection:
            return {
                (principal, grant): connection.execute(
                    "SELECT coalesce(sum(taken), 0) FROM counters WHERE principal = ? AND grant_name = ?"
                    " AND what = 'calls' AND window = 'minute' AND start > ?",
                    (principal, grant, first),
                ).fetchone()[0]
                for principal, grant in pairs
            }


def _of_principal(query: UsageQuery) -> str:
    # An equality by itself is looked up by the key; within an OR it would be a walk through the whole table.
    return " AND principal = :principal" if query.principal else ""


def _use(connection: sqlite3.Connection, query: UsageQuery, row: tuple[str, str, str, str, int, int, int]) -> Use:
    principal, grant, key, name, tokens, calls, seen = row
    refused: dict[str, dict[str, int]] = {"tokens": {}, "calls": {}}
    for what, reason, count in connection.execute(
        "SELECT what, reason, refused FROM refusals"
        " WHERE principal = ? AND grant_name = ? AND window = ? AND start = ? AND refused > 0",
        (principal, grant, query.window, query.start),
    ):
        refused[what][reason] = count
    models = answer_usage.read(connection, query, principal, grant) if query.models else ()
    of_budget = budgets.use(connection, query, principal, grant)
    counts = tokens, calls, refused["tokens"], refused["calls"], seen
    return Use(principal, grant, key, name, *counts, models, of_budget)
