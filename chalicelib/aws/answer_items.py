"""What answers took, in DynamoDB: one item for each model's hour with its minutes, so that a row costs one update.

A day's item lists the day's models, and is what keeps them few.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib.aws import counter_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.items import Item, number, text
from chalicelib.errors import StateUnread
from chalicelib.quota import COUNTERS_KEPT, WINDOWS
from chalicelib.usage import MODELS_KEPT, Answered, ModelUse, UsageQuery, window_start

_DAY = WINDOWS["day"]
_LETTERS = {"answers": "a", "unknown": "u", "input_tokens": "i", "output_tokens": "o", "cached_tokens": "c"}
"""What the attributes end with, by the members of `ModelUse`."""


def partition(grant: str, principal: str) -> str:
    """Return the partition of a principal's answers under a grant."""
    return f"answers#{grant}#{principal}"


def models_key(grant: str, principal: str, day: int) -> dict[str, Any]:
    """Return the key of the item that lists the models of a day."""
    return {"pk": {"S": partition(grant, principal)}, "sk": {"S": f"models#{day}"}}


class Listed(NamedTuple):
    """A model in the list of a day."""

    grant: str
    principal: str
    day: int
    """When it began, in epoch seconds."""
    name: str
    """Of the key and of the model."""


def listed(one: Answered) -> Listed:
    """Return where the model of these answers is listed."""
    return Listed(one.grant, one.principal, window_start("day", one.minute), _name(one.key, one.use.model))


def list_model(one: Listed) -> dict[str, Any]:
    """Return the parameters of an update that lists a model, once or again; its condition fails if there are too many."""
    return {
        "Key": models_key(one.grant, one.principal, one.day),
        "UpdateExpression": "ADD models :one SET expires_at = :kept",
        # SECURITY: a provider that makes up names fills no table, however many gateways hear it (test_many_models_are_one).
        "ConditionExpression": "attribute_not_exists(models) OR contains(models, :name) OR size(models) < :most",
        "ExpressionAttributeValues": {
            ":one": {"SS": [one.name]},
            ":name": {"S": one.name},
            ":most": {"N": str(MODELS_KEPT)},
            ":kept": _kept(one.day),
        },
    }


def add(one: Answered, model: str) -> dict[str, Any]:
    """Return the parameters of an update that adds to an hour and its minute. model: the name that it is counted under."""
    hour, day = window_start("hour", one.minute), window_start("day", one.minute)
    steps = {letter: count for member, letter in _LETTERS.items() if (count := getattr(one.use, member))}
    adds = {f"{mark}{letter}": count for mark in ("h", _minute(one.minute)) for letter, count in steps.items()}
    key = {
        "pk": {"S": partition(one.grant, one.principal)},
        "sk": {"S": f"{_beginning(hour)}{_name(one.key, model)}"},
    }
    return counter_items.update(CounterItem(key, {}, {"expires_at": _kept(day)}), adds)


def query(grant: str, principal: str, asked: UsageQuery) -> dict[str, Any]:
    """Return the parameters of a query for what answers took in a window: of an hour's items only what counts in it."""
    last = asked.start + WINDOWS[asked.window]
    first_hour, last_hour = window_start("hour", asked.start), window_start("hour", last - 1)
    names = {f"#{letter}": f"{_mark(asked)}{letter}" for letter in _LETTERS.values()}
    return {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "ProjectionExpression": ", ".join(("pk", "sk", *names)),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {
            ":pk": {"S": partition(grant, principal)},
            ":first": {"S": _beginning(first_hour)},
            ":last": {"S": f"{_beginning(last_hour)}\U0010ffff"},
        },
        "ConsistentRead": True,
    }


def uses(found: Iterable[Item], asked: UsageQuery) -> tuple[ModelUse, ...]:
    """Return what a query found, by model; raises Unavailable if an item is none of these."""
    sums: dict[str, list[int]] = {}
    for item in found:
        key, model = _names(item)
        numbers = [number(item, f"{_mark(asked)}{letter}") for letter in _LETTERS.values()]
        if any(numbers) and asked.key in ("", key):
            sums[model] = [a + b for a, b in zip(sums.get(model, [0] * len(numbers)), numbers, strict=True)]
    return tuple(ModelUse(model, *sums[model]) for model in sorted(sums))


def _names(item: Item) -> Collection[str]:
    window, _, rest = text(item, "sk").partition("#")
    _, *names = rest.split("#")
    if window != "hour" or len(names) != 2:
        raise StateUnread
    return names


def _name(key: str, model: str) -> str:
    return f"{key}#{model}"  # neither has a `#`


def _mark(asked: UsageQuery) -> str:
    return _minute(asked.start) if asked.window == "minute" else "h"


def _minute(start: int) -> str:
    return f"m{start % WINDOWS['hour'] // 60:02d}"


def _beginning(hour: int) -> str:
    return f"hour#{hour}#"


def _kept(day: int) -> Mapping[str, str]:
    # An hour is a part of its day, which is read from its hours.
    return {"N": str(day + _DAY + COUNTERS_KEPT["hour"])}
