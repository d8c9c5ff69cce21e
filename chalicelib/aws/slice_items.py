"""Slices in DynamoDB: the items beside a counter's own that keep lots of its numbers, as `chalicelib.edge.lots` has them.

A slice has an attribute for each counter and each change of its grant, `h@3` beside an item's `h`: a lot that was handed
out under other limits is never met again, even once these are back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib.aws import counter_items
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.items import Item, held, number, text
from chalicelib.edge import lots
from chalicelib.edge.lots import Lot

LOTS = "lots"
"""How often an item has handed out lots: where it is missing, nobody need look into its slices."""
_MARK = "@"


class Slice(NamedTuple):
    """One slice of an item. names: window -> the attribute that keeps its lot. whole: its key in the item's place."""

    names: Mapping[str, str]
    whole: CounterItem

    def asked(self, answer: Mapping[str, Any], windows: Iterable[str]) -> dict[str, Lot]:
        """Return the lots of these windows in the answer to an update; raises Unavailable if one is missing."""
        new = held(answer, "Attributes")
        names = {window: self.names[window] for window in windows}
        for name in names.values():
            held(new, name)
        return {window: Lot.read(number(new, name)) for window, name in names.items()}


def of(item: CounterItem, which: int, changes: int) -> Slice:
    """Return one slice of an item. changes: how often its grant had been changed."""
    marks = {"expires_at": item.marks["expires_at"]}
    whole = CounterItem(_key(item.key["pk"]["S"], item.key["sk"]["S"], which), item.names, marks)
    return Slice({window: f"{name}{_MARK}{changes}" for window, name in item.names.items()}, whole)


def keys(pk: str, sk: str) -> list[dict[str, Any]]:
    """Return the keys of all slices of the item with this key."""
    return [_key(pk, sk, which) for which in range(lots.SLICES)]


def _key(pk: str, sk: str, which: int) -> dict[str, Any]:
    # Which one it is comes first: a partition for each, rather than one that must be split first.
    return {"pk": {"S": f"slice#{which}#{pk.removeprefix('calls#')}"}, "sk": {"S": sk}}


def ask(one: Slice, windows: Iterable[str], again: str) -> dict[str, Any]:
    """Return the parameters of an update that asks for a number in each of these windows.

    again: as in `counter_items.add`, for all windows of the item.
    """
    undone = {f"r{name}#{again}": -1 for name in one.whole.names.values()} if again else {}
    return counter_items.update(one.whole, dict.fromkeys([one.names[window] for window in windows], 1) | undone)


def hand_out(item: CounterItem, wanted: Mapping[str, int]) -> dict[str, Any]:
    """Return the parameters of an update that takes numbers at an item. wanted: by window, how many."""
    adds = {item.names[window]: count for window, count in wanted.items()}
    return counter_items.update(item, adds | ({LOTS: 1} if max(wanted.values()) > 1 else {}))


def put(one: Slice, was: Mapping[str, Lot], new: Mapping[str, Lot]) -> dict[str, Any]:
    """Return the parameters of an update that puts lots into a slice, unless it has others by now than these were."""
    names = {f"#{index}": one.names[window] for index, window in enumerate(new)}
    values = {f":a{index}": {"N": str(lot.stored())} for index, lot in enumerate(new.values())}
    changed = {
        "Key": dict(one.whole.key),
        "UpdateExpression": "SET " + ", ".join(f"#{index} = :a{index}" for index in range(len(new))),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    same = {window: (Lot(was[window].first, 0), Lot(was[window].first + 1, -1)) for window in new}
    return _if_within(changed, {one.names[window]: bounds for window, bounds in same.items()})


def give_back(one: Slice, firsts: Mapping[str, int], reason: str) -> dict[str, Any]:
    """Return the parameters of an update that gives numbers back to their lots, and counts a refusal for each.

    firsts: by window, the lot's first number. Where a slice has another by now, or all of it was asked for, nothing is done.
    """
    steps = {one.names[window]: -1 for window in firsts}
    steps |= {f"r{one.whole.names[window]}#{reason}": 1 for window in firsts}
    bounds = {one.names[window]: (Lot(first, 1), Lot(first, lots.SIZE)) for window, first in firsts.items()}
    return _if_within(counter_items.update(one.whole, steps), bounds)


def _if_within(changed: dict[str, Any], bounds: Mapping[str, tuple[Lot, Lot]]) -> dict[str, Any]:
    """Return an update that is made only if the lots of these attributes are within these."""
    by_name = {name: mark for mark, name in changed["ExpressionAttributeNames"].items()}
    values = {f":b{index}": pair for index, pair in enumerate(bounds.values())}
    conditions = [f"{by_name[name]} BETWEEN :b{index}l AND :b{index}h" for index, name in enumerate(bounds)]
    changed["ConditionExpression"] = " AND ".join(conditions)
    for mark, pair in values.items():
        changed["ExpressionAttributeValues"] |= {
            f"{mark}{end}": {"N": str(lot.stored())} for end, lot in zip("lh", pair, strict=True)
        }
    return changed


def merged(item: Item, slices: Iterable[Item]) -> Item:
    """Return an item without the numbers that its slices have left, and with the refusals that are counted there."""
    sums = {name: number(item, name) for name in item if "N" in item[name]}
    for one in slices:
        for name in one:
            counter, _, changes = name.partition(_MARK)
            if name.startswith("r"):
                sums[name] = sums.get(name, 0) + number(one, name)
            elif changes.isdigit() and counter in sums:
                sums[counter] -= Lot.read(number(one, name)).left()
    return {**item, **{name: {"N": str(count)} for name, count in sums.items()}}


def places(items: Iterable[Item]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the slices' keys of those items that handed out lots, by partition and sort key."""
    hot = [(text(item, "pk"), text(item, "sk")) for item in items if number(item, LOTS)]
    return {place: keys(*place) for place in hot}
