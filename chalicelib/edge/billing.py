"""The budget of one call: what it may take is reserved when it is admitted, and settled when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.budget import Budgets, Reservation
from chalicelib.edge.call import Call
from chalicelib.edge.decision import Decision
from chalicelib.edge.errors import BeyondBudget, BudgetsNotKept, BudgetUsedUp
from chalicelib.errors import Unavailable
from chalicelib.models import charge, worst_case
from chalicelib.models.charge import Charge, Ending, Seen
from chalicelib.models.worst_case import WorstCase
from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS


class Bill(NamedTuple):
    """What one call has reserved."""

    budgets: Budgets
    reservation: Reservation
    worst: WorstCase

    def settle(self, ending: Ending, seen: Seen = charge.NOTHING) -> bool:
        """Charge the call what it took, once; False if it was before. May be repeated; raises Unavailable."""
        amounts = _amounts(charge.charge(self.worst, ending, seen))
        return self.budgets.settle(self.reservation, amounts)


def reserve(decision: Decision, principal: str, budgets: Budgets, now: int) -> Bill | None:
    """Reserve what a call may take, and return its bill; None if it runs no model.

    decision: under a grant with budgets. Raises BeyondBudget, BudgetUsedUp or another Refusal, and then nothing is reserved.
    """
    call, grant = decision.call, decision.grant
    if not call.id:
        raise BudgetsNotKept  # two calls would share a reservation
    worst = _worst_case(call, decision.key.provider)
    if worst is None:
        return None
    amounts = _amounts(Charge(worst.input, worst.output))
    beyond = next((one for one in grant.budgets if amounts[one.what] > one.amount), None)
    if beyond:
        raise BeyondBudget(beyond, amounts[beyond.what], worst.output)
    reservation = Reservation(call.id, grant.name, principal, now, amounts, any(one.shared for one in grant.budgets))
    try:
        balances = budgets.reserve(reservation, grant.budgets, now)
    except Unavailable:
        with contextlib.suppress(Unavailable):  # it may have been reserved
            budgets.settle(reservation, dict.fromkeys(amounts, 0))
        raise
    if balances is not None:
        raise BudgetUsedUp(balances, amounts, now)
    return Bill(budgets, reservation, worst)


def _worst_case(call: Call, provider: str) -> WorstCase | None:
    """Return the worst case of all readings of the call's path."""
    readings = paths.readings(PROVIDERS[provider], call.path)
    found = [worst_case.find(provider, paths.scope_value(call.method, path), call.body) for path in readings]
    return max((one for one in found if one is not None), key=lambda one: one.input + one.output, default=None)


def _amounts(tokens: Charge) -> Mapping[str, int]:
    return {"usage": tokens.input + tokens.output}
