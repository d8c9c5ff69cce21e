"""The edge's state in DynamoDB: `chalicelib.edge.state.EdgeState`.

One round trip is a batch read and, at the same time, two updates for each subject that is counted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws import counter_items, target_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.dynamodb import Tables, as_unavailable, code, read_batch, run_parallel, text
from chalicelib.edge.state import Snapshot
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget


class DynamoEdgeState:
    """Over the `control` table, which it reads, and the `counters` table, which it writes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        copy = target_items.copy_of(targets["token"].id)
        read = functools.partial(target_items.read, self._tables, targets.values(), copy)
        own, of_all = _items(counters), _items(total)
        found, *counted = run_parallel(read, *self._additions((*own, *of_all), again))
        numbers = _numbers(own, counted[: len(own)]), _numbers(of_all, counted[len(own) :])
        by_scope = {scope: found[target] for scope, target in targets.items()}
        return Snapshot(
            {scope: target_items.revocation_state(item) for scope, item in by_scope.items()},
            *numbers,
            grant=target_items.grant(by_scope["grant"]),
            key=target_items.key_config(by_scope["key"]),
            signing_keys=target_items.signing_keys(by_scope["everything"]),
        )

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        counted = _items(counters)
        return _numbers(counted, run_parallel(*self._additions(counted)))

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> None:
        """See `EdgeState.give_back`. A number is taken off at most once, and a counter never falls below 0."""
        run_parallel(*(functools.partial(self._take_off, item, reason) for item in _items(counters)))

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        groups = [(group, counter_items.items(group)) for group in counter_items.subjects(counters)]
        keys = [item.key for _, pair in groups for item in pair]
        [found] = run_parallel(functools.partial(read_batch, self._tables, {self._tables.counters: keys}))
        there = {(text(one, "pk"), text(one, "sk")): one for one in found}
        taken: dict[Counter, int] = {}
        for group, pair in groups:
            answers = [{"Attributes": there.get((item.key["pk"]["S"], item.key["sk"]["S"]), {})} for item in pair]
            numbers = _numbers(pair, answers)
            taken |= {counter: numbers[counter.window] for counter in group}
        return taken

    def _additions(self, counted: Sequence[CounterItem], again: str = "") -> list[Callable[[], Any]]:
        return [
            functools.partial(
                self._tables.client.update_item,
                TableName=self._tables.counters,
                ReturnValues="UPDATED_NEW",
                **counter_items.add(item, again),
            )
            for item in counted
        ]

    def _take_off(self, item: CounterItem, reason: str) -> None:
        update = counter_items.give_back(item, reason)
        try:
            with as_unavailable():
                self._tables.client.update_item(TableName=self._tables.counters, **update)
        except ClientError as error:
            if code(error) != "ConditionalCheckFailedException":
                raise


def _items(counters: tuple[Counter, ...]) -> list[CounterItem]:
    return [item for subject in counter_items.subjects(counters) for item in counter_items.items(subject)]


def _numbers(counted: Sequence[CounterItem], answers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for item, answer in zip(counted, answers, strict=True):
        numbers |= item.numbers(answer["Attributes"])
    return numbers
