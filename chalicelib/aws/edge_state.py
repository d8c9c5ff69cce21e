"""The edge's state in DynamoDB: `chalicelib.edge.state.EdgeState`.

One round trip is a batch read and, at the same time, two updates for each subject that is counted.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws import counter_items, target_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.dynamodb import Item, Tables, as_unavailable, code, read_batch, run_parallel, text
from chalicelib.aws.errors import THROTTLED
from chalicelib.edge.state import Snapshot
from chalicelib.errors import StateUnavailable, Unavailable
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
        found, *counted = self._count((*own, *of_all), again, read)
        numbers = _merged(counted[: len(own)]), _merged(counted[len(own) :])
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
        return _merged(self._count(_items(counters)))

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> int:
        """See `EdgeState.give_back`. A number is taken off at most once, and a counter never falls below 0."""
        items = _items(counters)
        left = run_parallel(*(functools.partial(self._take_off, item, reason) for item in items))
        return sum(items[0].refused(left[0], "minute").values())  # the principal's hour, with its minutes

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        groups = [(group, counter_items.items(group)) for group in counter_items.subjects(counters)]
        keys = [item.key for _, pair in groups for item in pair]
        [found] = run_parallel(functools.partial(read_batch, self._tables, {self._tables.counters: keys}))
        there = {(text(one, "pk"), text(one, "sk")): one for one in found}
        taken: dict[Counter, int] = {}
        for group, pair in groups:
            numbers = _merged(
                [item.numbers(there.get((item.key["pk"]["S"], item.key["sk"]["S"]), {})) for item in pair]
            )
            taken |= {counter: numbers[counter.window] for counter in group}
        return taken

    def _count(self, counted: Sequence[CounterItem], again: str = "", *reads: Callable[[], Any]) -> list[Any]:
        """Read and add in one round trip. If a part of it fails, what is known to be counted is given back.

        An addition whose answer was lost stays counted: it may have been made, or may yet be.
        """
        adds = [functools.partial(self._add, item, again) for item in counted]
        reason = again or StateUnavailable.reasons[0]
        undo = {len(reads) + index: functools.partial(self._undo, item, reason) for index, item in enumerate(counted)}
        return run_parallel(*reads, *adds, undo=undo)

    def _add(self, item: CounterItem, again: str) -> dict[str, int]:
        update = counter_items.add(item, again)
        return item.counted(
            self._tables.client.update_item(TableName=self._tables.counters, ReturnValues="UPDATED_NEW", **update)
        )

    def _undo(self, item: CounterItem, reason: str) -> None:
        # What cannot be given back stays counted: never more than the limit are admitted.
        with contextlib.suppress(Unavailable), as_unavailable():
            self._take_off(item, reason)

    def _take_off(self, item: CounterItem, reason: str) -> Item:
        """Return the item as it is then; empty if there was nothing to take off. Raises Unavailable, ClientError."""
        update = {"TableName": self._tables.counters, **counter_items.give_back(item, reason)}
        for is_last in (False, True):
            try:
                answer = self._tables.client.update_item(ReturnValues="ALL_NEW", **update)
            except ClientError as error:
                # SECURITY: what was throttled was not done, and is sent once more. What may have been done is not: it
                # would take off two (test_what_counts_is_sent_once_whatever_is_answered).
                if code(error) in THROTTLED and not is_last:
                    continue
                if code(error) != "ConditionalCheckFailedException":
                    raise
                return {}
            attributes: Item = answer.get("Attributes", {})
            if not attributes:
                raise StateUnavailable
            return attributes
        return {}


def _items(counters: tuple[Counter, ...]) -> list[CounterItem]:
    return [item for subject in counter_items.subjects(counters) for item in counter_items.items(subject)]


def _merged(numbers: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {window: number for one in numbers for window, number in one.items()}
