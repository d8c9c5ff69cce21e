"""How much time has passed, for tokens that die whether this machine slept or not."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment. steady: seconds of a clock that nobody sets. wall: seconds of the clock that people set."""

    steady: float
    wall: float


def now() -> Instant:
    """Return this moment."""
    return Instant(time.monotonic(), time.time())


def seconds(begin: Instant, end: Instant) -> float:
    """Return the seconds from one moment to another, by whichever clock says more.

    The steady clock may stop while the machine sleeps or is frozen, and the wall clock may be set back; neither may
    make a dead token look alive. A wall clock that is set forward costs one refresh.
    """
    return max(end.steady - begin.steady, end.wall - begin.wall)
