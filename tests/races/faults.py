"""Stores that fail now and then: before something was done, or after it, when only the answer is lost."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.audit import Event, IssuedCount, Page, Query
from chalicelib.edge.state import EdgeState, Snapshot
from chalicelib.errors import Unavailable
from chalicelib.exchange.ledger import ExchangeState, Issuance, Ledger, StateQuery
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget

RATE = 0.1
"""How often each point fails."""


class Injected(Unavailable):
    """A failure that a test asked for; its reason says where."""


def _may_fail(point: str) -> None:
    if random.random() < RATE:
        raise Injected(reason=point)


@dataclass(frozen=True)
class FaultyEdgeState:
    """Fails around each of its calls; the refusal's reason says where, and whether the call had a number then."""

    real: EdgeState

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        _may_fail("before_wave")
        snapshot = self.real.read_and_count(targets, counters, total, again)
        _may_fail("after_wave" if snapshot.held else "after_unheld")
        return snapshot

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        return self.real.count(counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        """See `EdgeState.give_back`."""
        _may_fail("before_give_back" if held else "before_refused")
        refused = self.real.give_back(counters, reason, held=held)
        _may_fail("after_give_back")
        return refused

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        return self.real.taken(counters)


@dataclass(frozen=True)
class FaultyLedger:
    """Fails around each issuance."""

    real: Ledger

    def find(self, query: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        return self.real.find(query)

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        _may_fail("before_issue")
        before = self.real.issue(issuance, now)
        _may_fail("after_issue")
        return before

    def record(self, event: Event) -> None:
        """See `Ledger.record`."""
        self.real.record(event)

    def page(self, query: Query) -> Page:
        """See `Audit.page`."""
        return self.real.page(query)

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        """See `Audit.count_issued`."""
        return self.real.count_issued(since, until, at_most)
