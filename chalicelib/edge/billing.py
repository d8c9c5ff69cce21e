"""The budget of one call: what it may take is reserved when it is admitted, and settled when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.budget import Budgets, Reservation
from chalicelib.edge.call import Call
from chalicelib.edge.decision import Decision
from chalicelib.edge.errors import BeyondBudget, BudgetsNotKept, BudgetUsedUp, SpendUnknown
from chalicelib.errors import Unavailable
from chalicelib.models import charge, worst_case
from chalicelib.models.charge import Ending, Seen
from chalicelib.models.worst_case import WorstCase
from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.prices import Price, Prices, Tokens


class Kept(NamedTuple):
    """Where it is kept what models took, and what they cost."""

    budgets: Budgets
    prices: Prices


class Bill(NamedTuple):
    """What one call has reserved."""

    budgets: Budgets
    reservation: Reservation
    worst: WorstCase
    price: Price | None = None
    """What its model costs, where its grant limits money."""

    def settle(self, ending: Ending, seen: Seen = charge.NOTHING) -> bool:
        """Charge the call what it took, once; False if it was before. May be repeated; raises Unavailable."""
        tokens = charge.charge(self.worst, ending, seen)
        amounts = _amounts(tokens, 0 if self.price is None else self.price.cost(tokens), self.price)
        return self.budgets.settle(self.reservation, amounts)


def reserve(decision: Decision, principal: str, kept: Kept, now: int) -> Bill | None:
    """Reserve what a call may take, and return its bill; None if it runs no model.

    decision: under a grant with budgets. Raises BeyondBudget, BudgetUsedUp or another Refusal, and then nothing is reserved.
    """
    call, grant = decision.call, decision.grant
    if not call.id:
        raise BudgetsNotKept  # two calls would share a reservation
    worst = _worst_case(call, decision.key.provider)
    if worst is None:
        return None
    price, tokens = _price(decision, worst, kept.prices), Tokens(worst.input, worst.output)
    amounts = _amounts(tokens, 0 if price is None else price.most(tokens), price)
    beyond = next((one for one in grant.budgets if amounts[one.what] > one.amount), None)
    if beyond:
        raise BeyondBudget(beyond, amounts[beyond.what], worst.output)
    shared, date = any(one.shared for one in grant.budgets), "" if price is None else kept.prices.date
    reservation = Reservation(call.id, grant.name, principal, now, amounts, shared, date)
    try:
        balances = kept.budgets.reserve(reservation, grant.budgets, now)
    except Unavailable:
        with contextlib.suppress(Unavailable):  # it may have been reserved
            kept.budgets.settle(reservation, dict.fromkeys(amounts, 0))
        raise
    if balances is not None:
        raise BudgetUsedUp(balances, amounts, now)
    return Bill(kept.budgets, reservation, worst, price)


def _worst_case(call: Call, provider: str) -> WorstCase | None:
    """Return the worst case of all readings of the call's path."""
    readings = paths.readings(PROVIDERS[provider], call.path)
    found = [worst_case.find(provider, paths.scope_value(call.method, path), call.body) for path in readings]
    return max((one for one in found if one is not None), key=lambda one: one.input + one.output, default=None)


def _price(decision: Decision, worst: WorstCase, prices: Prices) -> Price | None:
    """Return what the call's model costs; None if its grant does not limit money. Raises SpendUnknown."""
    if not any(one.what == "spend" for one in decision.grant.budgets):
        return None
    # SECURITY: what has no price is not free (test_what_has_no_price_is_refused).
    if worst.dearer:
        raise SpendUnknown(f"{worst.dearer!r} may change the price")
    price = prices.find(decision.key.provider, worst.model)
    if price is None:
        raise SpendUnknown(f"there is no price of {worst.model[:100]!r} in those of {prices.date}")
    return price


def _amounts(tokens: Tokens, cost: int, price: Price | None) -> Mapping[str, int]:
    # SECURITY: a call is never paid for what it takes, whatever a count says (test_nothing_is_paid_out).
    if min(tokens.input, tokens.output, cost) < 0:
        raise ValueError("a call takes less than nothing")
    usage = {"usage": tokens.input + tokens.output}
    return usage if price is None else {**usage, "spend": cost}
