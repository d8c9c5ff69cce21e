"""What requests cost in DynamoDB, by its own documented rules, counted here from what is really sent.

Developer Guide: "DynamoDB item sizes and formats", "DynamoDB read and write operations", "Capacity management for
transactions". What is documented nowhere: a ConditionCheck counts as a write, and a transaction doubles the units of its
tables but not those of an index (both as others have measured); a transaction that is cancelled is taken to cost what it
would have written, the most that it could; an Update that fails is taken to have made nothing larger than what is there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from chalicelib.aws.dynamodb import make_client
from chalicelib.aws.items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RRU, WRU = 4096, 1024
"""Bytes that one unit reads, and writes."""
RRU_DOLLARS, WRU_DOLLARS = Decimal("0.125"), Decimal("0.625")
"""A million units on demand, at the list prices of us-east-1 in November 2026."""
INDEXED = ("listed", "place")
"""What the index `by_day` is keyed by; an item without both is not in it."""

_Place = tuple[str, str, str]
"""Table, partition and sort key."""


def size_of(item: Item) -> int:
    """Return an item's size in bytes."""
    return sum(len(name.encode()) + _size_of_value(value) for name, value in item.items())


def _size_of_value(value: Mapping[str, Any]) -> int:
    kind, held = next(iter(value.items()))
    if kind == "S":
        return len(str(held).encode())
    if kind == "N":
        held = str(held)
        digits = held.lstrip("-").replace(".", "").strip("0")
        return 1 + math.ceil(len(digits) / 2) + int(held.startswith("-"))
    if kind == "B":
        return len(bytes(held))
    if kind == "SS":
        return sum(len(str(one).encode()) for one in held)
    if kind in ("NULL", "BOOL"):
        return 1
    raise ValueError(f"no item here has a value of this kind: {kind}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. items: how many it names, 1 unless it is a batch or a transaction."""

    operation: str
    items: int
    reads: float
    writes: int


@dataclass(slots=True)
class Bill:
    """What an operation asked of DynamoDB."""

    requests: list[Request] = field(default_factory=list)

    def reads(self) -> float:
        """Return the read units."""
        return sum(one.reads for one in self.requests)

    def writes(self) -> int:
        """Return the write units."""
        return sum(one.writes for one in self.requests)

    def dollars(self) -> Decimal:
        """Return what a million of it cost, in whole cents."""
        exact = Decimal(str(self.reads())) * RRU_DOLLARS + self.writes() * WRU_DOLLARS
        return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)

    def text(self) -> str:
        """Return the requests by kind, such as `1 BatchGetItem of 6, 2 UpdateItem`; reads first."""
        kinds = sorted((not one.reads, one.operation, one.items) for one in self.requests)
        counted = [(kinds.count(kind), *kind[1:]) for kind in dict.fromkeys(kinds)]
        texts = (f"{count} {name}" + (f" of {size}" if size > 1 else "") for count, name, size in counted)
        return ", ".join(texts) or "none"


@contextmanager
def metered(client: DynamoDBClient) -> Iterator[Bill]:
    """Count what a client asks for meanwhile."""
    meter = _Meter(_other_client())
    hooks: dict[str, Any] = {"before-parameter-build.dynamodb": meter.before, "after-call.dynamodb": meter.after}
    for name, hook in hooks.items():
        client.meta.events.register(name, hook)
    try:
        yield meter.bill
    finally:
        for name, hook in hooks.items():
            client.meta.events.unregister(name, hook)


@functools.cache
def _other_client() -> DynamoDBClient:
    """What looks at items without being counted."""
    return make_client("us-east-1")


class _Meter:
    def __init__(self, client: DynamoDBClient) -> None:
        self.bill = Bill()
        self._client = client

    def before(self, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["asked"], context["there"] = params, self._look(_written(params))

    def after(self, model: Any, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:  # noqa: ANN401  botocore's
        asked, before = context["asked"], context["there"]
        written, times = _written(asked), 2 if model.name == "TransactWriteItems" else 1
        after = self._look(written)
        writes = sum(_write_units((before[one], after[one], put), times) for one, put in written.items())
        self.bill.requests.append(Request(model.name, _items(asked), self._read(model.name, asked, parsed), writes))

    def _look(self, places: Iterable[_Place]) -> dict[_Place, Item]:
        """Return the items at these places, {} for one that is not there."""
        keys: dict[str, Any] = {}
        for table, partition, sort in places:
            key = {"pk": {"S": partition}, "sk": {"S": sort}}
            keys.setdefault(table, {"Keys": [], "ConsistentRead": True})["Keys"].append(key)
        found = self._client.batch_get_item(RequestItems=keys)["Responses"] if keys else {}
        there = {(table, one["pk"]["S"], one["sk"]["S"]): one for table, items in found.items() for one in items}
        return {place: there.get(place, {}) for place in places}

    def _read(self, operation: str, asked: Mapping[str, Any], parsed: Mapping[str, Any]) -> float:
        if operation == "GetItem":
            return _read_units([parsed.get("Item", {})])
        if operation == "BatchGetItem":
            found = [item for items in parsed["Responses"].values() for item in items]
            return (
                sum(_read_units([item]) for item in found) + _items(asked) - len(found)
            )  # one that is not there is one
        if operation == "Query":
            return _read_units(self._looked_through(asked)) / (1 if asked.get("ConsistentRead") else 2)
        return 0

    def _looked_through(self, asked: Mapping[str, Any]) -> Sequence[Item]:
        """Return what a query read: all that its filter passed over, too."""
        named = {name: one for name, one in asked.items() if name != "FilterExpression"}
        values = {
            name: one
            for name, one in asked["ExpressionAttributeValues"].items()
            if name in asked["KeyConditionExpression"]
        }
        found: Sequence[Item] = self._client.query(**{**named, "ExpressionAttributeValues": values})["Items"]
        return found


def _read_units(items: Sequence[Item]) -> int:
    return max(1, math.ceil(sum(map(size_of, items)) / RRU))


def _write_units(images: tuple[Item, Item, Item], times: int) -> int:
    """Return the units of one item's write: of the largest of its images, and of the index's entries if they change.

    images: before, after, and what a Put says.
    """
    units = times * max(1, *(math.ceil(size_of(one) / WRU) for one in images))
    was, will = (index_entry(one) for one in images[:2])
    return units + (sum(math.ceil(size_of(one) / WRU) for one in (was, will) if one) if was != will else 0)


def _written(asked: Mapping[str, Any]) -> dict[_Place, Item]:
    """Return which items a request writes or checks, each with what a Put says it shall be."""
    actions = [next(iter(one.values())) for one in asked.get("TransactItems", ())]
    if "UpdateExpression" in asked or "Item" in asked:
        actions = [asked]
    found = {}
    for action in actions:
        key = action.get("Key") or action["Item"]
        found[action["TableName"], key["pk"]["S"], key["sk"]["S"]] = action.get("Item", {})
    return found


def _items(asked: Mapping[str, Any]) -> int:
    if "TransactItems" in asked:
        return len(asked["TransactItems"])
    return sum(len(one["Keys"]) for one in asked["RequestItems"].values()) if "RequestItems" in asked else 1


def index_entry(item: Item) -> Item:
    """Return what of an item is in the index, which holds keys alone; {} if it is not in it."""
    return {name: item[name] for name in ("pk", "sk", *INDEXED)} if all(name in item for name in INDEXED) else {}
