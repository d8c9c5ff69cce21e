"""Budgets in DynamoDB: an item for an hour with its minutes and one for a day, as of calls, of each principal and of all callers.

While a call is under way each of its items has a mark of it, by which it is counted there once and settled there once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from chalicelib import budget
from chalicelib.aws.items import Item, number, text
from chalicelib.budget import HELD_SECONDS, BudgetLimit, BudgetUse, Reservation
from chalicelib.errors import StateUnread
from chalicelib.quota import COUNTERS_KEPT, EVERYBODY, WINDOWS, Counter, window_ends

_MARK = "r#"
_PRICES = "prices"
"""The date of the prices by which a call was charged last."""
_LETTERS = {"usage": "u", "spend": "s"}


class BudgetItem(NamedTuple):
    """One item of a call. counters: those that it holds."""

    key: Mapping[str, Any]
    counters: tuple[Counter, ...]


def items(reservation: Reservation) -> list[BudgetItem]:
    """Return a call's items in the order in which they are taken: its principal's, all callers'; an hour, its day."""
    found: dict[tuple[bool, bool], list[Counter]] = {}
    for counter in reservation.counters():
        found.setdefault((counter.principal == EVERYBODY, counter.window == "day"), []).append(counter)
    return [BudgetItem(key_of(found[place][0]), tuple(found[place])) for place in sorted(found)]


def key_of(counter: Counter) -> dict[str, Any]:
    """Return the key of a counter's item."""
    unit = "day" if counter.window == "day" else "hour"
    start = counter.start - counter.start % WINDOWS[unit]
    return {"pk": {"S": f"budget#{counter.grant}#{counter.principal}"}, "sk": {"S": f"{unit}#{start}"}}


def name_of(counter: Counter) -> str:
    """Return the attribute that holds a counter."""
    windows = {"minute": f"m{counter.start % WINDOWS['hour'] // 60:02d}", "hour": "h", "day": "d"}
    return f"{_LETTERS[counter.what]}{windows[counter.window]}"


def reserve(item: BudgetItem, reservation: Reservation, limits: Collection[BudgetLimit]) -> dict[str, Any]:
    """Return the parameters of an update that adds what a call may take, and marks it; if there is room, and no mark."""
    names, values = _Placeholders("#"), _Placeholders(":")
    mark, record = names(_mark(reservation)), values({"S": _record(reservation)})
    adding = [f"{names(name_of(one))} {values(_number(reservation.amounts[one.what]))}" for one in item.counters]
    # SECURITY: the update that takes is the one that looks whether there is room (test_threads_never_exceed_a_budget_over_dynamodb).
    conditions = [f"attribute_not_exists({mark})"]
    for limit in limits:
        counter, room = budget.counter_of(limit, reservation), limit.amount - reservation.amounts[limit.what]
        if counter in item.counters:
            name = names(name_of(counter))
            there = f"{name} <= {values(_number(room))}"
            conditions.append(f"(attribute_not_exists({name}) OR {there})" if room >= 0 else there)
    kept = max(window_ends(one) + COUNTERS_KEPT[one.window] for one in item.counters)
    setting = f"{mark} = {record}, {names('expires_at')} = {values(_number(kept))}"
    if reservation.prices:
        setting += f", {names(_PRICES)} = {values({'S': reservation.prices})}"
    return {
        "Key": dict(item.key),
        "UpdateExpression": f"ADD {', '.join(adding)} SET {setting}",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names.by_placeholder(),
        "ExpressionAttributeValues": values.by_placeholder(),
    }


def settle(item: BudgetItem, reservation: Reservation, amounts: Mapping[str, int]) -> dict[str, Any]:
    """Return the parameters of an update that puts amounts in place of what is reserved, and removes the mark; if it is there."""
    names, values = _Placeholders("#"), _Placeholders(":")
    mark = names(_mark(reservation))
    more = {one: amounts[one.what] - reservation.amounts[one.what] for one in item.counters}
    adding = [f"{names(name_of(one))} {values(_number(count))}" for one, count in more.items() if count]
    found = {
        "Key": dict(item.key),
        "UpdateExpression": f"{'ADD ' + ', '.join(adding) if adding else ''} REMOVE {mark}".strip(),
        "ConditionExpression": f"attribute_exists({mark})",
        "ExpressionAttributeNames": names.by_placeholder(),
    }
    return found | ({"ExpressionAttributeValues": values.by_placeholder()} if adding else {})


def is_marked(item: Item, reservation: Reservation) -> bool:
    """Whether a call is reserved in an item."""
    return _mark(reservation) in item


def held(item: Item, counter: Counter, now: int) -> int:
    """Return what calls under way have reserved of a counter in its item."""
    records = [_read(text(item, name)) for name in item if name.startswith(_MARK)]
    return sum(
        amounts.get(counter.what, 0)
        for at, amounts in records
        if counter.start <= at < window_ends(counter) and now < at + HELD_SECONDS
    )


def taken(item: Item, counter: Counter) -> int:
    """Return what a counter holds in its item, with what is reserved."""
    return number(item, name_of(counter))


def use(item: Item, counter: Counter, now: int) -> BudgetUse:
    """Return what was taken of a counter, and what calls under way have reserved."""
    all_taken = taken(item, counter)
    reserved = min(all_taken, held(item, counter, now))
    return BudgetUse(all_taken - reserved, reserved, text(item, _PRICES) if counter.what == "spend" else "")


def is_counted(item: Item, counter: Counter) -> bool:
    """Whether anything was ever counted in a counter."""
    return name_of(counter) in item


def _mark(reservation: Reservation) -> str:
    # Short, since there are as many as calls under way.
    return _MARK + base64.urlsafe_b64encode(hashlib.sha256(reservation.id.encode()).digest()[:12]).decode()


def _record(reservation: Reservation) -> str:
    return ":".join(str(one) for one in (reservation.at, *(reservation.amounts.get(what, 0) for what in budget.WHATS)))


def _read(record: str) -> tuple[int, dict[str, int]]:
    try:
        at, *amounts = map(int, record.split(":"))
        return at, dict(zip(budget.WHATS, amounts, strict=True))
    except ValueError as error:
        raise StateUnread from error


def _number(count: int) -> dict[str, str]:
    return {"N": str(count)}


class _Placeholders:
    """The names or values of an expression, each with a placeholder of its own."""

    def __init__(self, sign: str) -> None:
        self._sign, self._held = sign, list[Any]()

    def __call__(self, held: Any) -> str:  # noqa: ANN401  a name, or a value as DynamoDB has it
        if held not in self._held:
            self._held.append(held)
        return f"{self._sign}{self._held.index(held)}"

    def by_placeholder(self) -> dict[str, Any]:
        """Return them as a request has them."""
        return {f"{self._sign}{index}": held for index, held in enumerate(self._held)}
