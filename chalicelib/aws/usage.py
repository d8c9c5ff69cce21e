"""Usage in DynamoDB: `chalicelib.usage.Usage`, from the items that quotas are counted with."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

from chalicelib.aws.counter_items import CounterItem, beginning, items
from chalicelib.aws.dynamodb import as_unavailable, read_partition, run_parallel
from chalicelib.aws.items import held, text
from chalicelib.aws.own_usage import DynamoOwnUsage, Found, found_at, keys_of, use_of
from chalicelib.quota import WINDOWS, counters, cursor_key, read_cursor_key
from chalicelib.usage import RECENT_SECONDS, UsagePage, UsageQuery, window_start

INDEX = "by_day"
_DAY = WINDOWS["day"]


class DynamoUsage(DynamoOwnUsage):
    """Over the `ledger` and `counters` tables. Active principals are found by an index, which may be a second behind."""

    def uses(self, query: UsageQuery) -> UsagePage:
        """See `Usage.uses`."""
        read_cursor_key(query.after)
        listed = self._listed(query)
        pairs = [read_cursor_key(one) for one in listed[: query.limit]]
        wanted = [(principal, grant) for principal, grant in pairs if query.grant in ("", grant)]
        found = self.read(keys_of(pair, query) for pair in wanted)
        models = self.models(wanted, query, found)
        uses = [use_of(pair, query, found, models.get(pair, ())) for pair in wanted]
        kept = tuple(use for use in uses if use and query.key in ("", use.key))
        return UsagePage(kept, listed[query.limit - 1] if len(listed) > query.limit else "")

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """See `Usage.recent_calls`."""
        minutes = range(window_start("minute", now) - RECENT_SECONDS + 60, now + 1, 60)
        found = self.read([_calls(pair, at).key for at in (minutes[0], now)] for pair in pairs)
        return {pair: sum(_of_minute(_calls(pair, at), found) for at in minutes) for pair in pairs}

    def _listed(self, query: UsageQuery) -> list[str]:
        """Return the cursor keys of principals issued or refused a token that day or the day before, one more than a page."""
        day = window_start("day", query.start)
        if query.principal:
            found = {
                cursor_key(query.principal, grant) for at in (day, day - _DAY) for grant in self._grants(query, at)
            }
        else:
            of_days = run_parallel(*(functools.partial(self._of_day, at, query) for at in (day, day - _DAY)))
            found = {one for listed in of_days for one in listed}
        return [one for one in sorted(found, key=str.encode) if one.encode() > query.after.encode()][: query.limit + 1]

    def _grants(self, query: UsageQuery, day: int) -> list[str]:
        mark = beginning("day", day)
        rows = read_partition(self._tables, self._tables.ledger, f"tokens#{query.principal}", mark)
        return [text(row, "sk").removeprefix(mark) for row in rows]

    def _of_day(self, day: int, query: UsageQuery) -> list[str]:
        values: dict[str, Any] = {":day": {"S": f"day#{day}"}}
        condition = "listed = :day"
        if query.after:
            values[":after"] = {"S": query.after}
            condition += " AND place > :after"
        with as_unavailable():
            answer = self._tables.client.query(
                TableName=self._tables.ledger,
                IndexName=INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                Limit=query.limit + 1,
            )
        return [text(item, "place") for item in held(answer, "Items")]


def _calls(pair: tuple[str, str], at: int) -> CounterItem:
    return items(counters("calls", pair[1], pair[0], at))[0]


def _of_minute(item: CounterItem, found: Found) -> int:
    return item.numbers(found_at(found, item.key))["minute"]
