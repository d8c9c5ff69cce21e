"""The audit in DynamoDB: a partition for each month and shard, so that no single one takes every write."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.audit import FILTERS, PAGE_LIMIT, Event, IssuedCount, Page, Query
from chalicelib.aws.dynamodb import Tables, as_unavailable, run_parallel
from chalicelib.aws.errors import error_code
from chalicelib.aws.items import Item, held, number, text
from chalicelib.errors import StateUnavailable

SHARDS = 8
MONTHS = 25
"""Months that a query without `since` goes back."""
PAGE_SECONDS = 2.0
"""Seconds after which a page is returned as it is, with a cursor to continue from."""

COUNT_SECONDS = 20.0
"""Seconds after which the events counted so far are returned: API Gateway waits for 29."""


class DynamoAudit:
    """`chalicelib.audit.Audit` over the `ledger` table."""

    def __init__(self, tables: Tables, clock: Callable[[], float] = time.time) -> None:
        self._audit = tables
        self._clock = clock

    def record(self, event: Event) -> None:
        """See `Audit.record`."""
        try:
            with as_unavailable():
                self._audit.client.put_item(**self.put(event)["Put"])
        except ClientError as error:
            raise StateUnavailable(aws_code=error_code(error)) from error

    def put(self, event: Event) -> dict[str, Any]:
        """Return the action that writes an event in a transaction."""
        filters = {name: {"S": value} for name in FILTERS if (value := event.to_json()[name])}
        item = {
            **self.key(event),
            "event": {"S": json.dumps(event.to_json())},
            **{f"f_{name}": value for name, value in filters.items()},
        }
        condition = "attribute_not_exists(pk)"
        return {"Put": {"TableName": self._audit.ledger, "Item": item, "ConditionExpression": condition}}

    @staticmethod
    def key(event: Event) -> dict[str, Any]:
        """Return the key of an event's item."""
        partition = partition_of(month_of(event.at), _shard(event.id))
        return {"pk": {"S": partition}, "sk": {"S": order(event.at, event.id)}}

    def page(self, query: Query) -> Page:
        """See `Audit.page`. The cursor is a sort key, time and id: the next page has the events before it.

        Past PAGE_SECONDS the page is what was found by then, since filters are applied to all events of the period.
        """
        if not set(query.equals) <= set(FILTERS) or (query.after and not _is_cursor(query.after)):
            raise ValueError("not a filter or cursor of the audit")
        ends = time.monotonic() + PAGE_SECONDS
        before = query.after or order(min(query.until, 2**40), "")
        newest = min(int(before[:13]), int(self._clock()) + 86400)  # a day, for clocks that are ahead of ours
        found: list[Item] = []
        for month in _months(newest, query.since):
            more = True
            while more:
                items, frontier = self._look(month, before, query)
                found += items
                if len(found) > query.limit:
                    return _page(found[: query.limit], text(found[query.limit - 1], "sk"))
                more, before = bool(frontier), frontier or order(_month_starts(month), "")
                if time.monotonic() > ends:
                    return _page(found, before)
        return _page(found, "")

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        """See `Audit.count_issued`. It ends after COUNT_SECONDS, too."""
        ends = time.monotonic() + COUNT_SECONDS
        counts: Counter[tuple[str, str]] = Counter()
        query = Query({"kind": "token.issued"}, since, until, limit=PAGE_LIMIT)
        while True:
            page = self.page(query)
            counts.update((event.principal, event.grant) for event in page.events)
            if not page.next:
                return IssuedCount(counts, counts.total() <= at_most)
            if counts.total() >= at_most or time.monotonic() > ends:
                return IssuedCount(counts, complete=False)
            query = replace(query, after=page.next)

    def _look(self, month: str, before: str, query: Query) -> tuple[list[Item], str]:
        """Query every shard of a month once: return its newest events before a sort key, and how far they are complete.

        That is a sort key, below which there may be more events; "" once the month is exhausted.
        """
        parameters: dict[str, Any] = {
            "TableName": self._audit.ledger,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :since AND :before",
            "ExpressionAttributeValues": {
                ":since": {"S": order(query.since, "")},
                ":before": {"S": before},
                **{f":{name}": {"S": value} for name, value in query.equals.items()},
            },
            "ScanIndexForward": False,
            "ConsistentRead": True,
        }
        if query.equals:
            parameters["FilterExpression"] = " AND ".join(f"f_{name} = :{name}" for name in query.equals)
        else:
            parameters["Limit"] = query.limit + 2  # one more than is shown, and one that may be at the cursor itself
        answers = run_parallel(*(functools.partial(self._query, parameters, month, shard) for shard in range(SHARDS)))
        frontier = max(
            (text(one["LastEvaluatedKey"], "sk") for one in answers if "LastEvaluatedKey" in one), default=""
        )
        items = [item for one in answers for item in held(one, "Items") if frontier <= text(item, "sk") < before]
        return sorted(items, key=lambda item: text(item, "sk"), reverse=True), frontier

    def _query(self, parameters: Mapping[str, Any], month: str, shard: int) -> Any:  # noqa: ANN401  DynamoDB's answer
        values = {**parameters["ExpressionAttributeValues"], ":pk": {"S": partition_of(month, shard)}}
        with as_unavailable():
            return self._audit.client.query(**{**parameters, "ExpressionAttributeValues": values})


def _page(items: list[Item], after: str) -> Page:
    return Page(tuple(map(event_of, items)), after)


def event_of(item: Item) -> Event:
    """Return the event of an item."""
    stored = json.loads(text(item, "event"))
    return Event.from_json({**stored, "repeated": number(item, "repeated") or stored.get("repeated", 0)})


def partition_of(month: str, shard: int) -> str:
    """Return a partition of the audit."""
    return f"audit#{month}#{shard}"


def _shard(event_id: str) -> int:
    return hashlib.sha256(event_id.encode()).digest()[0] % SHARDS


def order(at: int, event_id: str) -> str:
    """Return an event's sort key; without an id, what all events from this time on come behind."""
    return f"{at:013d}#{event_id}"


def _is_cursor(cursor: str) -> bool:
    return len(cursor) <= 200 and cursor[:13].isascii() and cursor[:13].isdecimal() and cursor[13:14] == "#"


def month_of(at: int) -> str:
    """Return the month of a time."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def _month_starts(month: str) -> int:
    return int(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).timestamp())


def _months(newest: int, since: int) -> Iterator[str]:
    """Yield the months between two times, newest first, MONTHS at most."""
    year, month = datetime.fromtimestamp(newest, UTC).timetuple()[:2]
    least = month_of(max(since, 0))
    for _ in range(MONTHS):
        name = f"{year:04d}-{month:02d}"
        if name < least:
            return
        yield name
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
