"""How much time has passed, for tokens that expire whether this machine slept or not."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timestamp:
    """One moment on both clocks, in seconds. monotonic: never set. wall: set by people and by NTP."""

    monotonic: float
    wall: float


def now() -> Timestamp:
    """Return this moment."""
    return Timestamp(time.monotonic(), time.time())


def elapsed(begin: Timestamp, end: Timestamp) -> float:
    """Return the seconds from one moment to another, by whichever clock says more.

    The monotonic clock may stop while the machine sleeps, and the wall clock may be set back; neither may make an
    expired token look alive. A wall clock that is set forward costs one refresh.
    """
    return max(end.monotonic - begin.monotonic, end.wall - begin.wall)
