"""How much models may take: limits of tokens and of money, what a call reserves of them, and where that is kept.

`usage` is counted in tokens of models, `spend` in millionths of a US dollar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol

from chalicelib import quota
from chalicelib.quota import EVERYBODY, WINDOWS, Allowance, Counter, Limit

WHATS = ("usage", "spend")
MICRO = 1_000_000
"""Of them is a dollar."""
MOST = 10**12
"""The highest limit."""
HELD_SECONDS = 3600
"""For so long a call counts as under way; what it reserved counts as used from then on, unless it is settled after all."""
SOON = 5
"""Seconds until a retry, where what calls under way have reserved stands in the way."""


class BudgetLimit(NamedTuple):
    """At most so much in each window of this name. shared: of all callers of a grant together."""

    what: str
    """One of WHATS."""
    amount: int
    window: str
    """One of WINDOWS."""
    shared: bool = False

    def __str__(self) -> str:
        return f"{amount_text(self.what, self.amount)}/{self.window}"


class Reservation(NamedTuple):
    """What one call may take at most, in every window that it falls in."""

    id: str
    """The call's request id."""
    grant: str
    principal: str
    at: int
    """When it was admitted, in epoch seconds."""
    amounts: Mapping[str, int]
    """By what: usage in tokens, spend in millionths of a dollar."""
    shared: bool
    """Whether it counts among all callers of the grant, too."""
    prices: str = ""
    """The date of the prices by which it is charged, YYYY-MM-DD; "" where its grant does not limit money."""

    @property
    def until(self) -> int:
        """When it counts as used if it was never settled, in epoch seconds."""
        return self.at + HELD_SECONDS

    def counters(self) -> tuple[Counter, ...]:
        """Return every counter that it counts in."""
        whose = (self.principal, EVERYBODY) if self.shared else (self.principal,)
        found = (quota.counters(what, self.grant, one, self.at) for what in self.amounts for one in whose)
        return tuple(counter for counters in found for counter in counters)


class Balance(NamedTuple):
    """How a limit stands. taken: with what is `held`, which calls under way have reserved."""

    limit: BudgetLimit
    taken: int
    held: int

    def has_room(self, amount: int) -> bool:
        """Whether so much more is within the limit."""
        return self.taken + amount <= self.limit.amount


class BudgetUse(NamedTuple):
    """What a principal took in a window. used: settled, or never to be; reserved: by calls under way."""

    used: int
    reserved: int
    prices: str = ""
    """Of money: the date of the prices by which the last call was charged, YYYY-MM-DD; "" if that was not noted."""

    def to_json(self) -> dict[str, int | str]:
        """Return the form that the admin API answers."""
        found: dict[str, int | str] = {"used": self.used, "reserved": self.reserved}
        return found | ({"prices": self.prices} if self.prices else {})


class Budgets(Protocol):
    """Where budgets are kept. Methods raise Unavailable; each may be repeated after StateUncertain."""

    def reserve(
        self, reservation: Reservation, limits: Collection[BudgetLimit], now: int
    ) -> tuple[Balance, ...] | None:
        """Add a call's amounts to all of its counters if every limit has room for it then, in one atomic update.

        Returns None once it is reserved; else how every limit stands, and nothing was added. However many reserve at
        once, no limit is exceeded. What is reserved already stays so. now: epoch seconds.
        """

    def settle(self, reservation: Reservation, amounts: Mapping[str, int]) -> bool:
        """Put what a call took in place of what it reserved, once: False if it was settled before, or never reserved.

        What is never settled stays counted as it was reserved. amounts: by what, as in the reservation.
        """


def counter_of(limit: BudgetLimit, reservation: Reservation) -> Counter:
    """Return the counter that a limit is for."""
    start = reservation.at - reservation.at % WINDOWS[limit.window]
    principal = EVERYBODY if limit.shared else reservation.principal
    return Counter(limit.what, reservation.grant, principal, limit.window, start)


def retry_after(balances: Iterable[Balance], amounts: Mapping[str, int], now: int) -> int:
    """Return the seconds until a call that did not fit may: SOON if it would, were nothing reserved."""
    over = [one for one in balances if not one.has_room(amounts[one.limit.what])]
    ends = (WINDOWS[one.limit.window] - now % WINDOWS[one.limit.window] for one in over if not _fits_soon(one, amounts))
    return max(ends, default=SOON)


def _fits_soon(balance: Balance, amounts: Mapping[str, int]) -> bool:
    return balance._replace(taken=balance.taken - balance.held).has_room(amounts[balance.limit.what])


def allowances(balances: Iterable[Balance], now: int) -> tuple[Allowance, ...]:
    """Return what is left of each limit, for the headers."""
    return tuple(
        Allowance(
            Limit(one.limit.amount, one.limit.window),
            max(0, one.limit.amount - one.taken),
            WINDOWS[one.limit.window] - now % WINDOWS[one.limit.window],
            one.limit.shared,
            one.limit.what,
        )
        for one in balances
    )


def amount_text(what: str, amount: int) -> str:
    """Return an amount with its unit, as a policy has it: `200000 tokens`, `20 usd`, `0.5 usd`."""
    if what == "usage":
        return f"{amount} tokens"
    return f"{(Decimal(amount) / MICRO).normalize():f} usd"


def parse(what: str, text: object) -> BudgetLimit | None:
    """Read `N tokens/day` or `N usd/day`, N a positive decimal number, of dollars with up to six places; None if it is none."""
    amount, slash, window = text.partition("/") if isinstance(text, str) else ("", "", "")
    number, _, unit = amount.partition(" ")
    whole, point, places = number.partition(".")
    is_money = what == "spend"
    if not slash or window not in WINDOWS or unit != ("usd" if is_money else "tokens"):
        return None
    if not _is_number(whole) or (point and not (is_money and _is_number(places) and len(places) <= 6)):
        return None
    count = int(Decimal(number) * (MICRO if is_money else 1))
    return BudgetLimit(what, count, window) if 0 < count <= MOST else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 13
