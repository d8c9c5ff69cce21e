"""Budgets in DynamoDB: `chalicelib.budget.Budgets`.

A call takes its items one after another, each by one conditional update; where one has no room, it gives back those before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from chalicelib import budget
from chalicelib.aws import budget_items, round_trip
from chalicelib.aws.budget_items import BudgetItem
from chalicelib.aws.items import Item, text
from chalicelib.aws.round_trip import AwsClient, Request, RequestFailed, Steps
from chalicelib.budget import Balance, BudgetLimit, Reservation
from chalicelib.errors import StateUnavailable, StateUncertain, Unavailable

_TRIES = 8
"""How often a call tries to take what there was room for a moment later."""
_CONDITION_FAILED = "ConditionalCheckFailedException"


class DynamoBudgets:
    """Over the table `counters`, whose name is given."""

    def __init__(self, client: AwsClient, counters: str) -> None:
        self._client, self._table = client, counters

    def reserve(
        self, reservation: Reservation, limits: Collection[BudgetLimit], now: int
    ) -> tuple[Balance, ...] | None:
        """See `Budgets.reserve`. For a moment others may see what a call takes for which there is then no room elsewhere."""
        try:
            balances = self._reserve(reservation, limits, now)
        except Unavailable:
            self._give_back(reservation)
            raise
        if balances is not None:
            self._give_back(reservation)
        return balances

    def settle(self, reservation: Reservation, amounts: Mapping[str, int]) -> bool:
        """See `Budgets.settle`. Of each item it is done at most once."""
        items = budget_items.items(reservation)
        try:
            settled = round_trip.make(self._client, *(self._settle(one, reservation, amounts) for one in items))
        except Unavailable as fault:
            raise StateUncertain(aws_code=fault.aws_code) from fault
        return any(settled)

    def _reserve(
        self, reservation: Reservation, limits: Collection[BudgetLimit], now: int
    ) -> tuple[Balance, ...] | None:
        items = waiting = budget_items.items(reservation)
        for _ in range(_TRIES):
            (took,) = round_trip.make(self._client, self._take(waiting, reservation, limits))
            if took:
                return None
            found = self._read(items)
            waiting = [
                one for one, there in zip(items, found, strict=True) if not budget_items.is_marked(there, reservation)
            ]
            balances = _balances(items, found, reservation, limits, now)
            if waiting and not all(one.has_room(reservation.amounts[one.limit.what]) for one in balances):
                return balances
        raise StateUnavailable

    def _take(
        self, items: Sequence[BudgetItem], reservation: Reservation, limits: Collection[BudgetLimit]
    ) -> Steps[bool]:
        """Take these in turn. Whether all of them had room."""
        for one in items:
            if not (yield from self._write(budget_items.reserve(one, reservation, limits))):
                return False
        return True

    def _settle(self, item: BudgetItem, reservation: Reservation, amounts: Mapping[str, int]) -> Steps[bool]:
        return self._write(budget_items.settle(item, reservation, amounts))

    def _write(self, update: Mapping[str, Any]) -> Steps[bool]:
        """Make a conditional update. Whether its condition held."""
        try:
            yield self._updating(update)
        except RequestFailed as failed:
            if failed.code != _CONDITION_FAILED:
                raise
            return False
        return True

    def _give_back(self, reservation: Reservation) -> None:
        """Take off what a call has taken, wherever it has. What cannot be taken off stays: never more than the limit go on."""
        nothing = dict.fromkeys(reservation.amounts, 0)
        backs = (self._settle(one, reservation, nothing) for one in budget_items.items(reservation))
        with contextlib.suppress(Unavailable):
            round_trip.make(self._client, *backs, gives_back=True)

    def _read(self, items: Sequence[BudgetItem]) -> list[Item]:
        (found,) = round_trip.make(self._client, round_trip.batch({self._table: [one.key for one in items]}))
        there = {(text(one, "pk"), text(one, "sk")): one for one in found}
        return [there.get((one.key["pk"]["S"], one.key["sk"]["S"]), {}) for one in items]

    def _updating(self, update: Mapping[str, Any]) -> Request:
        return Request("UpdateItem", {"TableName": self._table, "ReturnValues": "NONE", **update})


def _balances(
    items: Sequence[BudgetItem],
    found: Sequence[Item],
    reservation: Reservation,
    limits: Collection[BudgetLimit],
    now: int,
) -> tuple[Balance, ...]:
    """Return how each limit stands without this call. found: the items as they are."""
    balances = []
    for limit in limits:
        counter = budget.counter_of(limit, reservation)
        item = next(there for one, there in zip(items, found, strict=True) if counter in one.counters)
        own = reservation.amounts[limit.what] if budget_items.is_marked(item, reservation) else 0
        taken, held = budget_items.taken(item, counter) - own, budget_items.held(item, counter, now) - own
        balances.append(Balance(limit, taken, min(taken, max(0, held))))
    return tuple(balances)
