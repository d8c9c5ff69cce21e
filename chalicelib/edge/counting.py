"""How one call is counted, given back if it is refused, and counted again where there is room after all."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib import quota
from chalicelib.edge import lots
from chalicelib.edge.state import Counted, EdgeState, Snapshot, Wanted
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import StateUnavailable
from chalicelib.policy.grants import Grant
from chalicelib.quota import Allowance, Counter
from chalicelib.revocation import RevocationTarget


class CallCount:
    """One call in its principal's counters, and in those of all callers where its grant has a `total`.

    Every method but `allowances` takes one round trip to the state, and raises Unavailable.
    """

    snapshot: Snapshot
    """What the last round trip found."""
    refused = 0
    """How many calls of the principal were refused in this minute, as this one was given back."""

    def __init__(self, state: EdgeState, key: str, token: VerifiedToken, now: int) -> None:
        self._state = state
        self._targets: Mapping[str, RevocationTarget] = token.targets(key)
        self._grant, self._now = token.grant, now
        self._own = quota.counters("calls", token.grant, token.principal, now)
        self._total: tuple[Counter, ...] = self._of_all() if token.has_total else ()
        self._late_total: tuple[Counter, ...] = ()
        self._refused_for, self._waits = "", False
        self._ahead: Counted = None

    @property
    def wanted(self) -> Wanted:
        """What `read_and_count` asks for, for the first time."""
        return Wanted(self._targets, self._own, self._total)

    def is_counted(self, counted: Counted) -> None:
        """Take what became of the call where several were counted at once: `read_and_count` returns or raises it, once."""
        self._ahead = counted

    @property
    def has_total(self) -> bool:
        """Whether the call is counted among all callers of its grant."""
        return bool(self._total)

    def read_and_count(self) -> Snapshot:
        """Read what the decision needs, and count the call: for the first time, or again after `give_back`."""
        ahead, self._ahead = self._ahead, None
        if isinstance(ahead, Exception):
            raise ahead
        self.snapshot = ahead or self._state.read_and_count(*self.wanted, self._refused_for)
        self._late_total, self._waits = (), self.snapshot.slices is not None
        return self.snapshot

    def give_back_ahead(self, reason: str) -> None:
        """Give back what the call took where several were counted at once, if it is not to go on; raises Unavailable."""
        if isinstance(self._ahead, Snapshot):
            self.read_and_count()
            self.give_back(reason)

    @property
    def waits(self) -> bool:
        """Whether a counter took no more when the call came, so that it is not counted there yet."""
        return self._waits

    def take_from_slices(self, grant: Grant) -> None:
        """Count the call where it waits, by numbers that were handed out ahead; raises Unavailable for a small limit."""
        slices = self.snapshot.slices
        if slices is None:
            return
        limits = [grant.call_limits] * slices.own_waits + [grant.total_limits] * slices.total_waits
        if not all(map(lots.may_draw, limits)):
            raise StateUnavailable(aws_code=slices.cause)
        own, total = slices.take(self._refused_for)
        numbers, of_all = {**self.snapshot.numbers, **own}, {**self.snapshot.total, **total}
        self.snapshot = self.snapshot._replace(numbers=numbers, total=of_all)
        self._waits = False

    def count_total(self) -> Mapping[str, int]:
        """Count the call among all callers, and return which number it is in each window.

        For a grant that got its `total` after the token was issued. The tokens issued since say so, and spare their
        calls this second round trip.
        """
        total = self._of_all()
        self.snapshot = self.snapshot._replace(total=self._state.count(total))
        self._total = self._late_total = total
        return self.snapshot.total

    def give_back(self, reason: str) -> None:
        """Count the call as refused for `reason` instead, so that it takes nothing of the quota."""
        slices = self.snapshot.slices
        if slices is None:
            self.refused = self._state.give_back(self._own + self._total, reason, held=self.snapshot.held)
        else:
            self.refused = slices.give_back(reason)
            if self._late_total:
                self._state.give_back(self._late_total, reason)
        self._refused_for = reason

    def refuse(self, reason: str) -> None:
        """Count the call as refused, which was not counted before, among its principal's alone: nothing else is known of it."""
        self.refused = self._state.give_back(self._own, reason, held=False)

    def has_room(self) -> bool:
        """Whether the call, which was beyond a limit and is given back, would be within all of them by now.

        Two calls can each be the one too many for another limit, and refuse each other though there was room for one
        (docs/adr/0005). The last of them to look sees what all the others have given back.
        """
        grant = self.snapshot.grant
        if grant is None or len(grant.call_limits) + len(grant.total_limits) < 2:
            return False  # with one limit alone, a call beyond it came after as many as it admits
        return _has_room(grant, self._state.taken(self._own + self._total))

    def allowances(self) -> tuple[Allowance, ...]:
        """Return what is left to a caller whose call is refused, since a refused call takes nothing."""
        grant = self.snapshot.grant
        if grant is None or self._waits:
            return ()
        own, total = _without_this_call(self.snapshot.numbers), _without_this_call(self.snapshot.total)
        left = quota.allowances(grant.call_limits, own, self._now)
        return left + quota.allowances(grant.total_limits if total else (), total, self._now, shared=True)

    def _of_all(self) -> tuple[Counter, ...]:
        return quota.counters("calls", self._grant, quota.EVERYBODY, self._now)


def _has_room(grant: Grant, taken: Mapping[Counter, int]) -> bool:
    of_all = {one.window: number for one, number in taken.items() if one.principal == quota.EVERYBODY}
    own = {one.window: number for one, number in taken.items() if one.principal != quota.EVERYBODY}
    return quota.has_room(grant.call_limits, own) and (not of_all or quota.has_room(grant.total_limits, of_all))


def _without_this_call(numbers: Mapping[str, int]) -> Mapping[str, int]:
    return {window: number - 1 for window, number in numbers.items()}
