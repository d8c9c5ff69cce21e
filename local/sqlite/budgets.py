"""Budgets in SQLite: `chalicelib.budget.Budgets`, over the rows that quotas are counted with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from chalicelib import budget
from chalicelib.budget import Balance, BudgetLimit, BudgetUse, Reservation
from chalicelib.quota import EVERYBODY, WINDOWS, Counter
from chalicelib.usage import UsageQuery
from local.sqlite import counter_rows
from local.sqlite.state_file import StateFile

_HELD = (
    "SELECT coalesce(sum(usage), 0) AS usage, coalesce(sum(spend), 0) AS spend FROM reservations"
    " WHERE grant_name = ? AND at >= ? AND at < ? AND until > ?"
)


class SqliteBudgets:
    """Over the state file. What is reserved is within `taken` from the first moment on; its row says what to take off again."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def reserve(
        self, reservation: Reservation, limits: Collection[BudgetLimit], now: int
    ) -> tuple[Balance, ...] | None:
        """See `Budgets.reserve`."""
        # SECURITY: whether there is room is seen in the transaction that takes it (test_no_race_overshoots).
        with self._state.writing() as connection:
            if _reserved(connection, reservation.id) is not None:
                return None
            of_limits = {one: budget.counter_of(one, reservation) for one in limits}
            taken = counter_rows.taken(connection, of_limits.values())
            balances = [Balance(one, taken[counter], 0) for one, counter in of_limits.items()]
            if not all(one.has_room(reservation.amounts[one.limit.what]) for one in balances):
                return tuple(one._replace(held=_held(connection, of_limits[one.limit], now)) for one in balances)
            _insert(connection, reservation)
            counters = reservation.counters()
            counter_rows.add_amounts(connection, {one: reservation.amounts[one.what] for one in counters})
            counter_rows.note_prices(connection, (one for one in counters if one.what == "spend"), reservation.prices)
        return None

    def settle(self, reservation: Reservation, amounts: Mapping[str, int]) -> bool:
        """See `Budgets.settle`."""
        with self._state.writing() as connection:
            reserved = _reserved(connection, reservation.id)
            if reserved is None:
                return False
            connection.execute("DELETE FROM reservations WHERE id = ?", (reservation.id,))
            more = {one: amounts[one.what] - reserved[one.what] for one in reservation.counters()}
            counter_rows.change_amounts(connection, more)
        return True


def use(connection: sqlite3.Connection, query: UsageQuery, principal: str, grant: str) -> dict[str, BudgetUse]:
    """Return what a principal took in a window, by what; empty if nothing of it was ever counted."""
    counters = [Counter(what, grant, principal, query.window, query.start) for what in budget.WHATS]
    found = {}
    for counter in counters:
        taken = counter_rows.taken_or_none(connection, counter)
        if taken is not None:
            held = min(taken, _held(connection, counter, query.now))
            found[counter.what] = BudgetUse(taken - held, held, counter_rows.prices(connection, counter))
    return found


def _reserved(connection: sqlite3.Connection, reservation_id: str) -> Mapping[str, int] | None:
    row = connection.execute("SELECT usage, spend FROM reservations WHERE id = ?", (reservation_id,)).fetchone()
    return row and dict(zip(("usage", "spend"), row, strict=True))


def _insert(connection: sqlite3.Connection, one: Reservation) -> None:
    amounts: tuple[Any, ...] = (one.amounts.get("usage", 0), one.amounts.get("spend", 0))
    connection.execute(
        "INSERT INTO reservations (id, grant_name, principal, at, until, shared, usage, spend)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (one.id, one.grant, one.principal, one.at, one.until, one.shared, *amounts),
    )


def _held(connection: sqlite3.Connection, counter: Counter, now: int) -> int:
    """Return what calls under way have reserved of a counter."""
    asked = [counter.grant, counter.start, counter.start + WINDOWS[counter.window], now]
    whose = " AND shared" if counter.principal == EVERYBODY else " AND principal = ?"
    own = [] if counter.principal == EVERYBODY else [counter.principal]
    row = connection.execute(_HELD + whose, [*asked, *own]).fetchone()
    return int(row[budget.WHATS.index(counter.what)])
