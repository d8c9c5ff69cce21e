"""What is wrong with a race between callers and a revocation, from what was recorded of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chalicelib.revocation import EPOCHS

ADMITTED, ISSUED = "admitted", "issued"
BUSY = "state_unavailable"
"""The one refusal that is right at any time: a busy store decides nothing."""


class Call(NamedTuple):
    """One call. start, end: monotonic, which is one clock for all processes of a machine. outcome: ADMITTED or why not."""

    jti: str
    start: float
    end: float
    outcome: str


class Mint(NamedTuple):
    """One exchange of a fresh identity token. outcome: ISSUED or why not. jti, epochs: of what was issued."""

    start: float
    end: float
    outcome: str
    jti: str = ""
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Moments:
    """When what happened in a round, monotonic. acknowledged, restored: when `revoke` and `lift` had returned."""

    revoking: float
    acknowledged: float
    restoring: float
    restored: float


@dataclass(frozen=True)
class Round:
    """One revocation and its end. target: what was revoked. epochs: those of a token fetched since, which worked."""

    scope: str
    target: str
    epochs: tuple[int, ...]
    moments: Moments
    calls: Sequence[Call]
    mints: Sequence[Mint]


@dataclass
class Tally:
    """What several rounds of one scope came to. What must stay empty or zero is named in `wrongs`."""

    scope: str
    rounds: int = 0
    before: int = 0
    after: int = 0
    later: int = 0
    stale_calls: int = 0
    fresh_calls: int = 0
    refused_exchanges: int = 0
    minted: int = 0
    minted_across: int = 0
    least_admitted_before: int = 1_000_000
    admitted_after: list[Call] = field(default_factory=list)
    stale_admitted: list[Call] = field(default_factory=list)
    issued_after: list[Mint] = field(default_factory=list)
    unexpected: Counter[str] = field(default_factory=Counter)
    _stale: dict[str, float] = field(default_factory=dict)

    def add(self, one: Round) -> None:
        """Count a round. A token that a round has made stale stays so in those that follow."""
        moments = one.moments
        self.rounds += 1
        self.minted += sum(mint.outcome == ISSUED for mint in one.mints)
        self.minted_across += sum(mint.start < moments.acknowledged < mint.end for mint in _issued(one))
        self._stale |= {jti: moments.acknowledged for jti in stale(one) if jti not in self._stale}
        self._count_calls(one)
        self._count_exchanges(one)

    def _count_calls(self, one: Round) -> None:
        moments, admitted_before = one.moments, 0
        for call in one.calls:
            is_stale = call.start > self._stale.get(call.jti, call.end)
            stopped = is_stale or (one.scope != "token" and moments.acknowledged < call.start < moments.restoring)
            admitted = call.outcome == ADMITTED
            self.stale_calls += is_stale
            if call.end < moments.revoking:
                self.before += 1
                admitted_before += admitted
            elif call.start > moments.restored:
                self.later += 1
                self.fresh_calls += admitted and not is_stale
            elif moments.acknowledged < call.start < moments.restoring and stopped:
                self.after += 1
            if admitted and stopped:
                (self.admitted_after if call.start < moments.restoring else self.stale_admitted).append(call)
            elif call.outcome not in _expected_of_a_call(one, call, stopped=stopped):
                self.unexpected[call.outcome] += 1
        self.least_admitted_before = min(self.least_admitted_before, admitted_before)

    def _count_exchanges(self, one: Round) -> None:
        for mint in one.mints:
            during = one.moments.acknowledged < mint.start and mint.end < one.moments.restoring
            stopped = during and one.scope != "token"
            self.refused_exchanges += stopped and mint.outcome == f"revoked_{one.scope}"
            if stopped and mint.outcome == ISSUED:
                self.issued_after.append(mint)
            may_be_refused = one.scope != "token" and mint.end > one.moments.revoking
            right = {BUSY} | ({f"revoked_{one.scope}"} if may_be_refused else set())
            if mint.outcome not in right | {ISSUED}:
                self.unexpected[mint.outcome] += 1

    def wrongs(self) -> Mapping[str, object]:
        """Return what is at odds with the rules, by rule; nothing if all hold."""
        found: Mapping[str, object] = {
            "admitted after the acknowledgement": self.admitted_after,
            "admitted with a token from before the revocation": self.stale_admitted,
            "exchanged after the acknowledgement": self.issued_after,
            "refused for another reason": dict(self.unexpected),
            "there was no race, for no fresh token was used after the restore": self.fresh_calls < self.rounds,
            "there was no race, for a round had no call admitted before": self.least_admitted_before == 0,
            "there was no race, for nobody called after": self.after < self.rounds,
            "there was no race, for nobody exchanged after": self.scope != "token"
            and self.refused_exchanges < self.rounds,
        }
        return {rule: what for rule, what in found.items() if what}

    def line(self) -> str:
        """Return the numbers, for people."""
        return (
            f"{self.scope:<10} {self.rounds:4} rounds: {self.before} calls before, {self.after} after the acknowledgement"
            f" ({len(self.admitted_after)} admitted), {self.later} after the restore; {self.minted} tokens minted,"
            f" {self.minted_across} across the acknowledgement; {self.stale_calls} calls with stale tokens"
            f" ({len(self.stale_admitted)} admitted); {self.refused_exchanges} exchanges refused"
            f" ({len(self.issued_after)} issued)"
        )


def _issued(one: Round) -> Iterable[Mint]:
    return (mint for mint in one.mints if mint.outcome == ISSUED)


def stale(one: Round) -> set[str]:
    """Return the tokens that the round's revocation has ended, told in two ways.

    A token that was held before the restore began is from before the revocation. What was issued later may still
    have been begun before: its epochs say so.
    """
    if one.scope == "token":
        return {one.target}
    held = {mint.jti for mint in _issued(one) if mint.end < one.moments.restoring}
    place = EPOCHS.index(one.scope)
    return held | {mint.jti for mint in _issued(one) if mint.epochs[place] < one.epochs[place]}


def _expected_of_a_call(one: Round, call: Call, *, stopped: bool) -> set[str]:
    """Return what may have become of a call that broke no rule."""
    revoked, is_stale = f"revoked_{one.scope}", f"stale_{one.scope}"
    concerns = one.scope != "token" or call.jti == one.target
    if call.end < one.moments.revoking:
        return {BUSY, is_stale} if stopped else {BUSY, ADMITTED}
    if call.start > one.moments.restored:
        return {BUSY, is_stale} if stopped else {BUSY, ADMITTED}
    if call.start > one.moments.acknowledged and call.end < one.moments.restoring and concerns:
        return {BUSY, revoked}
    return {BUSY, ADMITTED, is_stale, revoked}
