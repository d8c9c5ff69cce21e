"""The edge's state in DynamoDB: `chalicelib.edge.state.EdgeState`.

One round trip is a batch read and, at the same time, two updates for each subject that is counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalicelib.aws import counter_items, round_trip, target_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.items import Item, text
from chalicelib.aws.round_trip import AwsClient, Request, RequestFailed, Steps
from chalicelib.aws.slices import CallItems, DynamoSlices
from chalicelib.edge.state import Snapshot
from chalicelib.errors import StateUnavailable, Unavailable
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget


class DynamoEdgeState:
    """Over the tables `control`, which it reads, and `counters`, which it writes; their names are given.

    ahead: by a key's name, what is made beside the reading of its state, and raises nothing.
    """

    def __init__(
        self,
        client: AwsClient,
        control: str,
        counters: str,
        ahead: Callable[[str], Sequence[Steps[None]]] = lambda _key: (),
    ) -> None:
        self._client, self._control, self._counters, self._ahead = client, control, counters, ahead

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        copy = target_items.copy_of(targets["token"].id)
        read = target_items.reading(self._control, targets.values(), copy)
        # SECURITY: a secret is read for a token that is verified, and for no other (test_no_secret_without_a_good_token).
        ahead = self._ahead(targets["key"].id)
        own, of_all = _items(counters), _items(total)
        found, *others = self._count((*own, *of_all), again, read, *ahead, may_wait=True)
        counted = others[len(ahead) :]
        numbers = _merged(counted[: len(own)]), _merged(counted[len(own) :])
        by_scope = {scope: found[target] for scope, target in targets.items()}
        items = CallItems(own, of_all, [item for item, one in zip((*own, *of_all), counted, strict=True) if one])
        changes = target_items.changes(by_scope["grant"])
        return Snapshot(
            {scope: target_items.revocation_state(item) for scope, item in by_scope.items()},
            *numbers,
            grant=target_items.grant(by_scope["grant"]),
            key=target_items.key_config(by_scope["key"]),
            signing_keys=target_items.signing_keys(by_scope["everything"]),
            slices=None if all(counted) else DynamoSlices(self._client, self._counters, items, changes),
        )

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        return _merged(self._count(_items(counters)))

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        """See `EdgeState.give_back`. A number is taken off at most once, and a counter never falls below 0."""
        items = _items(counters)
        left = round_trip.make(
            self._client, *(self._take_off(item, reason, held=held) for item in items), gives_back=True
        )
        return sum(items[0].refused(left[0], "minute").values())  # the principal's hour, with its minutes

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        groups = [(group, counter_items.items(group)) for group in counter_items.subjects(counters)]
        keys = [item.key for _, pair in groups for item in pair]
        [found] = round_trip.make(self._client, round_trip.batch({self._counters: keys}))
        there = {(text(one, "pk"), text(one, "sk")): one for one in found}
        taken: dict[Counter, int] = {}
        for group, pair in groups:
            numbers = _merged(
                [item.numbers(there.get((item.key["pk"]["S"], item.key["sk"]["S"]), {})) for item in pair]
            )
            taken |= {counter: numbers[counter.window] for counter in group}
        return taken

    def _count(
        self, counted: Sequence[CounterItem], again: str = "", *reads: Steps[Any], may_wait: bool = False
    ) -> Sequence[Any]:
        """Read and add in one round trip. If a part of it fails, what is known to be counted is given back.

        An addition whose answer was lost stays counted: it may have been made, or may yet be.
        may_wait: an item that takes no more just then is no failure; its numbers are {}.
        """
        waiting: list[CounterItem] = []
        adds = [self._add(item, again, waiting if may_wait else None) for item in counted]
        reason = again or StateUnavailable.reasons[0]
        undo = {len(reads) + index: self._undo(item, reason, waiting) for index, item in enumerate(counted)}
        return round_trip.make(self._client, *reads, *adds, undo=undo)

    def _add(self, item: CounterItem, again: str, waiting: list[CounterItem] | None) -> Steps[dict[str, int]]:
        update = counter_items.add(item, again)
        try:
            return item.counted((yield self._updating(update, "UPDATED_NEW")))
        except RequestFailed as failed:
            # SECURITY: of these alone nothing was done (test_what_is_not_hot_is_refused).
            if waiting is None or not failed.is_hot:
                raise
            waiting.append(item)
            return {}

    def _updating(self, update: Mapping[str, Any], returned: str) -> Request:
        return Request("UpdateItem", {"TableName": self._counters, "ReturnValues": returned, **update})

    def _undo(self, item: CounterItem, reason: str, waiting: Sequence[CounterItem]) -> Steps[None]:
        if item in waiting:
            return  # nothing was done
        # What cannot be given back stays counted: never more than the limit are admitted.
        with contextlib.suppress(Unavailable, RequestFailed):
            yield from self._take_off(item, reason)

    def _take_off(self, item: CounterItem, reason: str, *, held: bool = True) -> Steps[Item]:
        update = counter_items.give_back(item, reason) if held else counter_items.add_refused(item, reason)
        return counter_items.taken_off(self._updating(update, "ALL_NEW"))


def _items(counters: tuple[Counter, ...]) -> list[CounterItem]:
    return [item for subject in counter_items.subjects(counters) for item in counter_items.items(subject)]


def _merged(numbers: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {window: number for one in numbers for window, number in one.items()}
