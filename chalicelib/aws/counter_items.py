"""Counters in DynamoDB: one item for an hour with its minutes, one for a day, so that a call costs two updates."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib.aws.items import Item, held, number
from chalicelib.aws.round_trip import THROTTLED, Request, RequestFailed, Steps
from chalicelib.errors import StateUnavailable
from chalicelib.quota import COUNTERS_KEPT, WINDOWS, Counter, Limit, cursor_key, last_seen, window_ends

if TYPE_CHECKING:
    from chalicelib.audit import Event  # the edge, which must start quickly, has no audit


class CounterItem(NamedTuple):
    """One item, `hour` or `day`. names: window -> the attribute that counts it. marks: its other attributes."""

    key: Mapping[str, Any]
    names: Mapping[str, str]
    marks: Mapping[str, Any]

    def numbers(self, item: Item) -> dict[str, int]:
        """Return the item's counts, by window."""
        return {window: number(item, name) for window, name in self.names.items()}

    def counted(self, answer: Mapping[str, Any]) -> dict[str, int]:
        """Return the counts in the answer to an update, by window; raises Unavailable if one is missing."""
        new = held(answer, "Attributes")
        for name in self.names.values():
            held(new, name)
        return self.numbers(new)

    def refused(self, item: Item, window: str) -> dict[str, int]:
        """Return the item's counts of refusals in a window, by reason."""
        mark = f"r{self.names[window]}#"
        counted = {name.removeprefix(mark): number(item, name) for name in item if name.startswith(mark)}
        return {reason: count for reason, count in counted.items() if count > 0}


def items(counters: Iterable[Counter], event: Event | None = None) -> tuple[CounterItem, CounterItem]:
    """Return the two items of one subject's three counters. event: for tokens, whose key and principal name are noted."""
    by_window = {counter.window: counter for counter in counters}
    minute, hour, day = by_window["minute"], by_window["hour"], by_window["day"]
    in_hour = {"hour": "h", "minute": f"m{(minute.start - hour.start) // 60:02d}"}
    seen = last_seen(by_window.values())
    return _item(hour, in_hour, seen, event), _item(day, {"day": "d"}, seen, event)


def subjects(counters: Iterable[Counter]) -> list[tuple[Counter, ...]]:
    """Return counters in groups, one for each subject."""
    found: dict[tuple[str, str, str], list[Counter]] = {}
    for counter in counters:
        found.setdefault((counter.what, counter.grant, counter.principal), []).append(counter)
    return [tuple(group) for group in found.values()]


def key_of(what: str, grant: str, principal: str, window: str, start: int) -> dict[str, Any]:
    """Return the key of the item of an hour or a day.

    A principal's tokens share a partition, so that an exchange finds them before it knows the grant; its calls have one
    for each grant, since there may be many.
    """
    if what == "tokens":
        return {"pk": {"S": f"tokens#{principal}"}, "sk": {"S": f"{beginning(window, start)}{grant}"}}
    return {"pk": {"S": f"calls#{grant}#{principal}"}, "sk": {"S": f"{window}#{start}"}}


def beginning(window: str, start: int) -> str:
    """Return the prefix of the sort keys of an hour's or a day's tokens; the grant's name follows."""
    return f"{window}#{start}#"


def taken(item: Item, minute: int) -> dict[Counter, int]:
    """Return the counts of a token item. minute: the start of the minute to return from an hour's item."""
    window, start, grant = item["sk"]["S"].split("#")
    principal = item["pk"]["S"].removeprefix("tokens#")
    found = {Counter("tokens", grant, principal, window, int(start)): number(item, window[0])}
    if window == "hour":
        found[Counter("tokens", grant, principal, "minute", minute)] = number(
            item, f"m{(minute - int(start)) // 60:02d}"
        )
    return found


def _item(counter: Counter, names: Mapping[str, str], seen: int, event: Event | None) -> CounterItem:
    marks: dict[str, Any] = {
        "expires_at": {"N": str(window_ends(counter) + COUNTERS_KEPT[counter.window])},
        "seen": {"N": str(seen)},
    }
    if event is not None:
        marks |= {"key": {"S": event.key}, "name": {"S": event.principal_name}}
    if counter.what == "tokens" and counter.window == "day":
        # The index `by_day` finds every principal that was active that day. The values never change, so the index is
        # written once for each item.
        where = {"S": cursor_key(counter.principal, counter.grant)}
        marks |= {"listed": {"S": f"day#{counter.start}"}, "place": where}
    key = key_of(counter.what, counter.grant, counter.principal, counter.window, counter.start)
    return CounterItem(key, names, marks)


def update(item: CounterItem, adds: Mapping[str, int]) -> dict[str, Any]:
    """Return the parameters of an update that adds to these attributes of an item, and sets its marks."""
    expression, names = _expression(tuple(adds), tuple(item.marks))
    values: dict[str, Any] = {f":a{index}": {"N": str(step)} for index, step in enumerate(adds.values())}
    values |= {f":s{index}": value for index, value in enumerate(item.marks.values())}
    return {
        "Key": dict(item.key),
        "UpdateExpression": expression,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


@functools.lru_cache(maxsize=256)
def _expression(adds: tuple[str, ...], marks: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return an update's expression and names, which are the same for a minute and must not be changed."""
    adding = ", ".join(f"#{index} :a{index}" for index in range(len(adds)))
    setting = ", ".join(f"#{len(adds) + index} = :s{index}" for index in range(len(marks)))
    return f"ADD {adding} SET {setting}", {f"#{index}": name for index, name in enumerate((*adds, *marks))}


def add(item: CounterItem, again: str = "") -> dict[str, Any]:
    """Return the parameters of an update that adds one to every counter of an item.

    again: the reason for which this call is counted as refused there, which is undone.
    """
    steps = dict.fromkeys(item.names.values(), 1)
    return update(item, steps | ({f"r{name}#{again}": -1 for name in item.names.values()} if again else {}))


def add_refused(item: CounterItem, reason: str) -> dict[str, Any]:
    """Return the parameters of an update that counts a refusal, under its reason, in every window of an item."""
    return update(item, {f"r{name}#{reason}": 1 for name in item.names.values()})


def give_back(item: CounterItem, reason: str) -> dict[str, Any]:
    """Return the parameters of an update that turns one admitted into one refused, if there is one to turn."""
    steps = dict.fromkeys(item.names.values(), -1) | {f"r{name}#{reason}": 1 for name in item.names.values()}
    changed = update(item, steps)
    by_name = {name: mark for mark, name in changed["ExpressionAttributeNames"].items()}
    changed["ConditionExpression"] = " AND ".join(f"{by_name[name]} > :zero" for name in item.names.values())
    changed["ExpressionAttributeValues"][":zero"] = {"N": "0"}
    return changed


def taken_off(request: Request) -> Steps[Item]:
    """Give numbers back by this update; return the item as it is then, empty if there was nothing to take off.

    Raises Unavailable, RequestFailed.
    """
    for is_last in (False, True):
        try:
            answer = yield request
        except RequestFailed as failed:
            # SECURITY: what was throttled was not done, and is sent once more. What may have been done is not: it would
            # take off two (test_what_counts_is_sent_once_whatever_is_answered).
            if failed.code in THROTTLED and not is_last:
                continue
            if failed.code != "ConditionalCheckFailedException":
                raise
            return {}
        attributes: Item = answer.get("Attributes", {})
        if not attributes:
            raise StateUnavailable
        return attributes
    return {}


def add_within(item: CounterItem, limits: Iterable[Limit]) -> dict[str, Any]:
    """Return the parameters of an update that adds one unless a counter of the item has reached its limit."""
    changed = add(item)
    by_name = {name: mark for mark, name in changed["ExpressionAttributeNames"].items()}
    conditions = []
    for limit in limits:
        if limit.window in item.names:
            changed["ExpressionAttributeValues"][f":{limit.window}"] = {"N": str(limit.count)}
            mark = by_name[item.names[limit.window]]
            conditions.append(f"(attribute_not_exists({mark}) OR {mark} < :{limit.window})")
    if conditions:
        changed["ConditionExpression"] = " AND ".join(conditions)
        changed["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return changed


def starts(now: int) -> dict[str, int]:
    """Return when the windows of a time began."""
    return {window: now - now % length for window, length in WINDOWS.items()}
