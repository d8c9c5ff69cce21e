"""The edge's state as an admission meets it: one wave that reads and counts, numbers given back, and a second look."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from chalicelib import quota
from chalicelib.policy import grants
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationState, RevocationTarget


class Snapshot(NamedTuple):
    """What one wave of state access found: how the six things stand, and which number this call is per window.

    total: which number it is among all callers of its grant; empty if that was not counted.
    """

    targets: Mapping[str, RevocationState]
    numbers: Mapping[str, int]
    total: Mapping[str, int] = MappingProxyType({})


class EdgeState(Protocol):
    """The edge's state. Methods raise Unavailable if state is out of reach or anything was left unread."""

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """Read the six things, and add one to each counter, at once. A counter is never added to twice.

        again: the reason for which this very call was counted as refused in these counters; that is taken back.
        """

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """Add one to each counter and return which number this call is in each window."""

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> None:
        """Take one from each counter and count a call refused for `reason` there instead, so that refusals burn no quota.

        counters: all that were added to for one call, in one wave.
        """

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """Return what each counter holds; whatever was given back before this was called is given back in it."""


def has_room(edge_state: EdgeState, snapshot: Snapshot, counted: tuple[Counter, ...]) -> bool:
    """Whether a call that was beyond a limit, and has given back its numbers, would be within all of them by now.

    Two calls can each be the one too many for another limit, and stand in each other's way, though there was room for
    one of them (docs/adr/0005). Whoever looks last sees what all the others have given back.
    """
    grant = grants.read(snapshot.targets["grant"].config or {})
    if len(grant.call_limits) + len(grant.total_limits) < 2:
        return False  # by one limit alone, whoever is beyond it came after as many as it admits
    taken = edge_state.taken(counted)
    of_all = {one.window: number for one, number in taken.items() if one.principal == quota.EVERYBODY}
    own = {one.window: number for one, number in taken.items() if one.principal != quota.EVERYBODY}
    return quota.has_room(grant.call_limits, own) and (not of_all or quota.has_room(grant.total_limits, of_all))
