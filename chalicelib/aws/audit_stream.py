"""The audit's events, oldest first, however many there are."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterator
from typing import Any

from chalicelib.aws.audit import SHARDS, month_of, partition_of
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.aws.items import Item, held, text

PAGE = 250
"""Items of a shard that are read at once, so that what is held is bounded."""


def oldest_first(tables: Tables, after: str, to: str) -> Iterator[Item]:
    """Yield the events behind one sort key, up to and with another; raises Unavailable meanwhile."""
    for month in _months(int(after[:13]), int(to[:13])):
        shards = [_shard(tables, partition_of(month, shard), after, to) for shard in range(SHARDS)]
        yield from heapq.merge(*shards, key=functools.partial(text, name="sk"))


def _shard(tables: Tables, partition: str, after: str, to: str) -> Iterator[Item]:
    query: dict[str, Any] = {
        "TableName": tables.ledger,
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :after AND :to",
        "ExpressionAttributeValues": {":pk": {"S": partition}, ":after": {"S": after}, ":to": {"S": to}},
        "ConsistentRead": True,
        "Limit": PAGE,
    }
    while True:
        with as_unavailable():
            answer = tables.client.query(**query)
        yield from (item for item in held(answer, "Items") if text(item, "sk") != after)
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _months(since: int, until: int) -> Iterator[str]:
    """Yield the months between two times, oldest first."""
    year, month = map(int, month_of(since).split("-"))
    while (name := f"{year:04d}-{month:02d}") <= month_of(until):
        yield name
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
