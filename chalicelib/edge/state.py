"""The edge's state as an admission meets it: one wave that reads and counts, numbers given back, and a second look."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from chalicelib import quota
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationState, RevocationTarget


class Snapshot(NamedTuple):
    """What one round trip to state found for one call."""

    states: Mapping[str, RevocationState]
    """By scope, whether each of the call's six targets is blocked, and its epoch."""
    numbers: Mapping[str, int]
    """By window, which number this call is among its principal's under the grant."""
    total: Mapping[str, int] = MappingProxyType({})
    """The same among all callers of the grant; empty if that was not counted."""
    grant: Grant | None = None
    """The grant as it is now, None if there is none of that name."""
    key: KeyConfig | None = None
    """The key as it is now, None if the policy does not name it."""
    signing_keys: tuple[str, ...] = ()
    """The `kid`s of the signing keys whose tokens are accepted."""


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
    grant = snapshot.grant
    if grant is None or len(grant.call_limits) + len(grant.total_limits) < 2:
        return False  # by one limit alone, whoever is beyond it came after as many as it admits
    taken = edge_state.taken(counted)
    of_all = {one.window: number for one, number in taken.items() if one.principal == quota.EVERYBODY}
    own = {one.window: number for one, number in taken.items() if one.principal != quota.EVERYBODY}
    return quota.has_room(grant.call_limits, own) and (not of_all or quota.has_room(grant.total_limits, of_all))
