"""The edge's state as an admission needs it: one round trip reads and counts; a refused call is given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationState, RevocationTarget


class Wanted(NamedTuple):
    """What one call reads and counts, as in `EdgeState.read_and_count`."""

    targets: Mapping[str, RevocationTarget]
    counters: tuple[Counter, ...]
    total: tuple[Counter, ...] = ()


class Slices(Protocol):
    """One call, some of whose counters took no more just then, and what else numbers it (docs/adr/0009).

    own_waits, total_waits: the call is not counted yet in a counter of its principal, of all callers. cause: why, for the
    log. Methods raise Unavailable.
    """

    cause: str
    own_waits: bool
    total_waits: bool

    def take(self, again: str = "") -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Count the call where it is not counted yet, by numbers that were handed out ahead.

        Returns by window which number it is, among its principal's and among all callers', for those counters alone.
        again: as in `EdgeState.read_and_count`.
        """

    def give_back(self, reason: str) -> int:
        """Do what `EdgeState.give_back` does, for all counters that the call is in by that round trip or by `take`."""


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
    held: bool = True
    """Whether the call has its numbers. Where not, it is beyond a limit, and the state has left them to others."""
    slices: Slices | None = None
    """What counts the call in those counters that took no more just then, whose numbers are missing; None if all did."""


class EdgeState(Protocol):
    """The edge's state. Methods raise Unavailable if state is out of reach or anything was left unread."""

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """Read the six targets, and add one to each counter, in one round trip. A counter is never added to twice.

        targets: by scope.
        counters: the principal's, one for each window. total: those of all callers of the grant, if it counts them.
        A state may add nothing for a call beyond a limit of its grant, and says so (`Snapshot.held`).
        again: the reason for which this very call is counted as refused in these counters, which is undone; "" if it
        was not counted before.
        """

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """Add one to each counter and return which number this call is in each window."""

    def give_back(self, counters: tuple[Counter, ...], reason: str, *, held: bool = True) -> int:
        """Take one from each counter and count a call refused for `reason` there instead, so that refusals burn no quota.

        counters: all that were added to for one call, the principal's first. held: False if nothing was (`Snapshot.held`, or
        a call that was refused before), and the refusal alone is counted. Returns how many calls of the principal are
        refused in its minute, for all reasons; 0 where there was nothing to take off.
        """

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """Return what each counter holds, without all that was given back before this was called."""


Counted = Snapshot | Exception | None
"""What became of one call of several: what was found, what `read_and_count` would have raised, or None: it is not counted,
and to be counted by itself."""


class GroupingState(EdgeState, Protocol):
    """A state that can do for several calls at once what it does for one."""

    def read_and_count_all(self, wanted: Sequence[Wanted]) -> Sequence[Counted]:
        """Do what `read_and_count` does, for each in turn, in one round trip; return what became of each. Raises nothing.

        When this returns, what is counted is committed.
        """
