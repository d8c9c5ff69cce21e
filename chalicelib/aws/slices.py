"""One call that an item did not take in time, numbered by lots in slices: `chalicelib.edge.state.Slices`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.aws import counter_items, round_trip, slice_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.items import Item
from chalicelib.aws.round_trip import HOT, AwsClient, Request, RequestFailed, Steps
from chalicelib.aws.slice_items import Slice
from chalicelib.edge import lots
from chalicelib.edge.lots import Lot
from chalicelib.errors import StateUnavailable, Unavailable


class CallItems(NamedTuple):
    """A call's items: of its principal's counters and of all callers', the hour's first. counted: those that it is in."""

    own: Sequence[CounterItem]
    of_all: Sequence[CounterItem]
    counted: Sequence[CounterItem]


class _Drawn(NamedTuple):
    """A call in an item's windows. numbers: which one it is. firsts: of those that a lot of the slice had, the lot's first."""

    item: CounterItem
    slice: Slice
    numbers: Mapping[str, int]
    firsts: Mapping[str, int]

    def also(self, numbers: Mapping[str, int], found: Mapping[str, Lot]) -> _Drawn:
        """Return it with these as well. found: the lots that numbers are of."""
        firsts = {window: lot.first for window, lot in found.items()}
        return self._replace(numbers={**self.numbers, **numbers}, firsts={**self.firsts, **firsts})


class DynamoSlices:
    """See `Slices`. table: `counters`. changes: how often the call's grant had been changed when it was read."""

    cause = HOT

    def __init__(self, client: AwsClient, table: str, items: CallItems, changes: int) -> None:
        self._client, self._table, self._items, self._changes = client, table, items, changes
        self._waiting = [one for one in (*items.own, *items.of_all) if one not in items.counted]
        self._drawn: list[_Drawn] = []
        self.own_waits, self.total_waits = (any(one in self._waiting for one in half) for half in items[:2])

    def take(self, again: str = "") -> tuple[Mapping[str, int], Mapping[str, int]]:
        """See `Slices.take`. If a part of it fails, what is known to be taken is given back."""
        drawn: list[_Drawn] = []
        draws = [self._draw(item, again, drawn) for item in self._waiting]
        undo = {index: self._undo(item, drawn, again) for index, item in enumerate(self._waiting)}
        round_trip.make(self._client, *draws, undo=undo)
        self._drawn = drawn
        return _numbers(drawn, self._items.own), _numbers(drawn, self._items.of_all)

    def give_back(self, reason: str) -> int:
        """See `Slices.give_back`. A number is given back at most once."""
        direct = [self._take_off(item, reason) for item in self._items.counted]
        back = (self._put_back(one, reason) for one in self._drawn)
        left = round_trip.make(self._client, *direct, *back, gives_back=True)
        items, hour = [*self._items.counted, *(one.item for one in self._drawn)], self._items.own[0]
        found: Item = next((one for item, one in zip(items, left, strict=True) if item == hour), {})
        return sum(hour.refused(found, "minute").values())

    def _draw(self, item: CounterItem, again: str, drawn: list[_Drawn]) -> Steps[None]:
        mine, asked = yield from self._ask(item, again)
        if len(mine.numbers) < len(item.names):
            mine = yield from self._hand_out(mine, asked, again)
        drawn.append(mine)

    def _ask(self, item: CounterItem, again: str) -> Steps[tuple[_Drawn, Mapping[str, Lot]]]:
        """Ask a slice until it has a number for every window, or the next lots of those that miss one are this call's."""
        mine, asked, undone = self._at_any_slice(item), dict[str, Lot](), again
        for left in reversed(range(lots.ASKS)):
            missing = [window for window in item.names if window not in mine.numbers]
            update = slice_items.ask(mine.slice, missing, undone)
            try:
                new = mine.slice.asked((yield self._updating(update, "UPDATED_NEW")), missing)
            except RequestFailed as failed:
                if not (failed.is_hot and left):
                    yield from self._quietly_put_back(mine, again)
                    raise
                mine = mine if asked else self._at_any_slice(item)
                continue
            asked, undone = {**asked, **new}, ""
            found = {window: lot for window, lot in new.items() if lot.number() is not None}
            mine = mine.also({window: lot.number() or 0 for window, lot in found.items()}, found)
            if lots.SIZE in lots.wanted(asked).values():
                break
            if len(mine.numbers) == len(item.names):
                break
        return mine, asked

    def _at_any_slice(self, item: CounterItem) -> _Drawn:
        return _Drawn(item, slice_items.of(item, os.urandom(1)[0] % lots.SLICES, self._changes), {}, {})

    def _hand_out(self, mine: _Drawn, asked: Mapping[str, Lot], again: str) -> Steps[_Drawn]:
        """Take at the item what the slice had not, and put the rest of a new lot into the slice."""
        wanted = {window: lots.wanted(asked)[window] for window in asked if window not in mine.numbers}
        item = mine.item._replace(names={window: mine.item.names[window] for window in wanted})
        update = self._updating(slice_items.hand_out(item, wanted), "UPDATED_NEW")
        tries = lots.FETCHES if lots.SIZE in wanted.values() else 1
        try:
            counted = item.counted((yield from _until_taken(update, tries)))
        except (RequestFailed, Unavailable):
            yield from self._quietly_put_back(mine, again)
            raise
        firsts = {window: lots.first_of(counted[window], count) for window, count in wanted.items()}
        new = {window: Lot(first, 1) for window, first in firsts.items() if wanted[window] > 1}
        if new:
            # Whatever comes of it, the first number of a lot is this call's; the others are lost if it is not put there.
            with contextlib.suppress(RequestFailed):
                yield self._updating(slice_items.put(mine.slice, asked, new), "NONE")
        return mine.also(firsts, new)

    def _undo(self, item: CounterItem, drawn: Sequence[_Drawn], again: str) -> Steps[None]:
        for mine in drawn:
            if mine.item == item:
                yield from self._quietly_put_back(mine, again)

    def _quietly_put_back(self, mine: _Drawn, again: str) -> Steps[None]:
        # What cannot be given back stays counted: never more than the limit are admitted.
        with contextlib.suppress(Unavailable, RequestFailed):
            yield from self._put_back(mine, again or StateUnavailable.reasons[0])

    def _put_back(self, mine: _Drawn, reason: str) -> Steps[Item]:
        """Give numbers back: to their lots where the slice still has them, else to the item. Returns what was written."""
        at_item = set(mine.numbers) - set(mine.firsts)
        found: Item = {}
        if mine.firsts:
            found = yield from self._taken_off(slice_items.give_back(mine.slice, mine.firsts, reason))
            at_item |= set() if found else set(mine.firsts)
        if not at_item:
            return found
        names = {window: name for window, name in mine.item.names.items() if window in at_item}
        return {**found, **(yield from self._take_off(mine.item._replace(names=names), reason))}

    def _take_off(self, item: CounterItem, reason: str) -> Steps[Item]:
        return self._taken_off(counter_items.give_back(item, reason))

    def _taken_off(self, update: Mapping[str, Any]) -> Steps[Item]:
        return counter_items.taken_off(self._updating(update, "ALL_NEW"))

    def _updating(self, update: Mapping[str, Any], returned: str) -> Request:
        return Request("UpdateItem", {"TableName": self._table, "ReturnValues": returned, **update})


def _numbers(drawn: Sequence[_Drawn], items: Sequence[CounterItem]) -> dict[str, int]:
    return {window: number for one in drawn if one.item in items for window, number in one.numbers.items()}


def _until_taken(request: Request, tries: int) -> Steps[Mapping[str, Any]]:
    """Make a request, and again if its item took no more just then, of which nothing was done."""
    for left in reversed(range(tries)):
        try:
            return (yield request)
        except RequestFailed as failed:
            if not (failed.is_hot and left):
                raise
    raise AssertionError("the last try returns or raises")
