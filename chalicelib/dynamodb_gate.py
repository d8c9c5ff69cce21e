"""The edge's state in DynamoDB: `chalicelib.admission.Gate`. One wave: a batch read and two updates at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import dynamodb_counters, dynamodb_things
from chalicelib.admission import Wave
from chalicelib.dynamodb import Tables, answering, at_once, code
from chalicelib.dynamodb_counters import CounterItem
from chalicelib.quota import Counter
from chalicelib.revocation import Thing


class DynamoGate:
    """Over the `control` table, which it reads, and the `counters` table, which it writes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def wave(self, things: Mapping[str, Thing], counters: tuple[Counter, ...]) -> Wave:
        """See `Gate.wave`."""
        copy = dynamodb_things.copy_of(things["token"].id)
        read = functools.partial(dynamodb_things.read, self._tables, things.values(), copy)
        items = dynamodb_counters.items(counters)
        found, *counted = at_once(read, *self._additions(items))
        return Wave({scope: found[thing] for scope, thing in things.items()}, _numbers(items, counted))

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `Gate.count`: two updates at once."""
        items = dynamodb_counters.items(counters)
        return _numbers(items, at_once(*self._additions(items)))

    def give_back(self, counters: tuple[Counter, ...]) -> None:
        """See `Gate.give_back`. A number is taken off at most once, and never below none."""
        at_once(*(functools.partial(self._take_off, item) for item in dynamodb_counters.items(counters)))

    def _additions(self, items: Sequence[CounterItem]) -> list[Callable[[], Any]]:
        return [
            functools.partial(
                self._tables.client.update_item,
                TableName=self._tables.counters,
                ReturnValues="UPDATED_NEW",
                **dynamodb_counters.add(item),
            )
            for item in items
        ]

    def _take_off(self, item: CounterItem) -> None:
        update = dynamodb_counters.add(item, -1)
        update["ConditionExpression"] = " AND ".join(f"#{window} > :zero" for window in item.names)
        update["ExpressionAttributeValues"][":zero"] = {"N": "0"}
        try:
            with answering():
                self._tables.client.update_item(TableName=self._tables.counters, **update)
        except ClientError as error:
            if code(error) != "ConditionalCheckFailedException":
                raise


def _numbers(items: Sequence[CounterItem], answers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for item, answer in zip(items, answers, strict=True):
        numbers |= item.numbers(answer["Attributes"])
    return numbers
