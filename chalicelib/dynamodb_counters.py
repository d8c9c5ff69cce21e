"""Counters in DynamoDB: one item for an hour with its minutes, one for a day, so that a call costs two updates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.dynamodb import Item, number
from chalicelib.quota import Counter, Limit, window_ends

KEPT = 3 * 86400
"""Seconds that a counter's item is kept after its window, for usage; then TTL may take it."""


@dataclass(frozen=True, slots=True)
class CounterItem:
    """One item, `hour` or `day`. names: window -> the attribute that counts it."""

    key: Mapping[str, Any]
    names: Mapping[str, str]
    expires: int

    def numbers(self, item: Item) -> dict[str, int]:
        """Return what the item counts, by window."""
        return {window: number(item, name) for window, name in self.names.items()}


def items(counters: Iterable[Counter]) -> tuple[CounterItem, CounterItem]:
    """Return the two items of one subject's three counters."""
    by_window = {counter.window: counter for counter in counters}
    minute, hour, day = by_window["minute"], by_window["hour"], by_window["day"]
    in_hour = {"hour": "h", "minute": f"m{(minute.start - hour.start) // 60:02d}"}
    return _item(hour, in_hour), _item(day, {"day": "d"})


def _item(counter: Counter, names: Mapping[str, str]) -> CounterItem:
    key = {
        "pk": {"S": f"{counter.what}#{counter.grant}#{counter.principal}"},
        "sk": {"S": f"{counter.window}#{counter.start}"},
    }
    return CounterItem(key, names, window_ends(counter) + KEPT)


def add(item: CounterItem, step: int = 1) -> dict[str, Any]:
    """Return the parameters of an update that adds to every counter of an item (a refused call is added elsewhere)."""
    names = {f"#{window}": name for window, name in item.names.items()}
    values = {":n": {"N": str(step)}, ":ttl": {"N": str(item.expires)}}
    adding = ", ".join(f"{name} :n" for name in names)
    if step < 0:
        # Refused calls are counted where they were taken from: `r` for the hour or day, `rmNN` for the minute.
        refused = {f"#r{window}": f"r{name}" for window, name in item.names.items()}
        adding += "".join(f", {name} :one" for name in refused)
        names, values = {**names, **refused}, {**values, ":one": {"N": "1"}}
    return {
        "Key": dict(item.key),
        "UpdateExpression": f"ADD {adding} SET expires_at = :ttl",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def add_within(item: CounterItem, limits: Iterable[Limit]) -> dict[str, Any]:
    """Return the parameters of an update that adds one unless a counter of the item has reached its limit."""
    update = add(item)
    conditions = []
    for limit in limits:
        if limit.window in item.names:
            update["ExpressionAttributeValues"][f":{limit.window}"] = {"N": str(limit.count)}
            name = f"#{limit.window}"
            conditions.append(f"(attribute_not_exists({name}) OR {name} < :{limit.window})")
    if conditions:
        update["ConditionExpression"] = " AND ".join(conditions)
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return update
