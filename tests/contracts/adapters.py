"""What a set of adapters gives the contract suite: the ports, and a way to look at what they counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from chalicelib.budget import Budgets
from chalicelib.edge.refused_calls import RefusedCalls
from chalicelib.edge.response_times import ResponseTimes
from chalicelib.edge.running import RunningState
from chalicelib.edge.state import EdgeState
from chalicelib.exchange.ledger import Ledger, Pins
from chalicelib.federation.notes import MintNotes
from chalicelib.policy.plan import Policies
from chalicelib.providers.versions import Keys
from chalicelib.quota import Counter
from chalicelib.revocation import Revocations
from chalicelib.tokens.key_list import SigningKeyLists
from chalicelib.usage import AnswerUsage, OwnUsage, Usage


class Control(Revocations, Policies, Pins, Keys, SigningKeyLists, Protocol):
    """What administrators write: revocations, the policy, keys, unique ids that principals are bound to."""

    def list_signing_keys(self, kids: tuple[str, ...]) -> None:
        """List the live signing keys."""


class AllUsage(Usage, OwnUsage, Protocol):
    """What administrators read of usage, and what a caller reads of its own."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """One set. budgets: None where they are not kept yet. counted: what a counter holds, as (admitted, refused); (0, 0) for one that was never counted in.

    again: makes another set over the same store, as another process would. cut: within it, the
    store is cut off after so many steps.
    """

    ledger: Ledger
    edge_state: EdgeState
    running_state: RunningState
    control: Control
    usage: AllUsage
    budgets: Budgets
    answers: AnswerUsage
    refused_calls: RefusedCalls
    response_times: ResponseTimes
    mint_notes: MintNotes
    counted: Callable[[Counter], tuple[int, int]]
    again: Callable[[], Adapters]
    cut: Callable[[int], AbstractContextManager[None]]


Make = Callable[[], AbstractContextManager[Adapters]]
"""Makes a set of adapters over an empty store, and clears up behind it."""
