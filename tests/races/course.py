"""Races between callers and revocations, round after round, wherever they are run."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chalicelib.errors import Unavailable
from tests.races.racer import Acts, Recorded, Told, epochs_of, told
from tests.races.verdict import ISSUED, Mint, Moments, Round, Tally

ROUNDS = int(os.environ.get("KEYBROKER_RACE_ROUNDS", "4"))
"""Rounds that are raced for each scope; `make test-slow` asks for 20, and `make test-races` for 200."""
PATIENCE = 60.0
"""Seconds that any one step may take."""
ENOUGH = 3
"""Calls of each caller that make up a step of a round."""
_Answer = TypeVar("_Answer")


class Field(Protocol):
    """Where it is raced: the callers, and what can be revoked. Methods raise Unavailable if they are to be retried."""

    offset: int
    """Seconds by which the slowest of the clocks is off."""
    callers: int
    """Threads of each racer that call."""

    @property
    def acts(self) -> Acts:
        """Return what one more caller does."""

    def targets(self) -> dict[str, str]:
        """Return what is revoked, by scope; a token is every round's own."""

    def revoke(self, scope: str, target: str) -> str:
        """Revoke it and return the revocation's id once it is in force."""

    def restore(self, revocation_id: str) -> None:
        """Restore what was revoked."""

    def begin(self, first: Told) -> None:
        """Let everybody start."""

    def end(self) -> Sequence[Recorded]:
        """Let everybody stop, and return what they did."""

    def progress(self) -> Sequence[int]:
        """Return what each racer has counted until now, one after another."""


@dataclass(frozen=True)
class Course:
    """Rounds of one field."""

    field: Field

    def run(self, scope: str, rounds: int) -> Tally:
        """Revoke and restore one thing so many times."""
        tally = Tally(scope)
        for number in range(rounds):
            tally.add(self._round(scope, number))
        return tally

    def _round(self, scope: str, number: int) -> Round:
        first = decided(lambda: self._token(self.field.offset))
        begun = told(number, self.field.offset, first)
        target = self.field.targets().get(scope, begun.jti)
        since = time.monotonic()
        self.field.begin(begun)
        try:
            self._wait("nobody is admitted", admitted=2, issued=1)
            moments = self._revoke_and_restore(scope, target)
            fresh = decided(lambda: self._token(0))
            decided(lambda: self.field.acts.call(fresh, int(time.time())))
            self._wait("nobody is admitted after the restore", admitted=2)
        finally:
            recorded = self.field.end()
        mints = [
            Mint(since, since, ISSUED, begun.jti, epochs_of(first)),
            *(mint for one in recorded for mint in one[1]),
        ]
        calls = [call for one in recorded for call in one[0]]
        return Round(scope, target, epochs_of(fresh), moments, calls, mints)

    def _revoke_and_restore(self, scope: str, target: str) -> Moments:
        time.sleep(random.uniform(0, 0.005))
        revoking = time.monotonic()
        made = decided(lambda: self.field.revoke(scope, target))
        acknowledged = time.monotonic()
        self._wait("nobody calls after the acknowledgement", calls=ENOUGH, exchanges=2)
        restoring = time.monotonic()
        decided(lambda: self.field.restore(made))
        return Moments(revoking, acknowledged, restoring, time.monotonic())

    def _token(self, offset: int) -> str:
        now, acts = int(time.time()), self.field.acts
        return acts.exchange(acts.subject_token("build-1", now - 60), now + offset)

    def _wait(self, or_else: str, *, calls: int = 0, admitted: int = 0, exchanges: int = 0, issued: int = 0) -> None:
        """Wait until each caller and each racer has done so much more."""
        since, ends = self.field.progress(), time.monotonic() + PATIENCE
        each = (*(calls, admitted) * self.field.callers, exchanges, issued)
        wanted = each * (len(since) // len(each))
        while any(now - then < more for now, then, more in zip(self.field.progress(), since, wanted, strict=True)):
            if time.monotonic() > ends:
                raise TimeoutError(or_else)
            time.sleep(0.0005)


def decided(act: Callable[[], _Answer]) -> _Answer:
    """Do it until a busy store has decided."""
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except Unavailable:
            if time.monotonic() > ends:
                raise
