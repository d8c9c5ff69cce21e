"""Kept connections that were idle for too long: AWS, or what is between, may have closed or forgotten them.

A Lambda that is frozen hears no farewell, so that its first request after the thaw would be answered by a reset, or by nothing.
"""

from __future__ import annotations

import time

IDLE_SECONDS = 4.0
"""A connection that was idle for longer is not used again."""

Moment = tuple[float, float]


def now() -> Moment:
    """Return the time by both clocks: a frozen machine's monotonic clock may stand still, and its wall clock be set."""
    return time.monotonic(), time.time()


def is_too_long(since: Moment, until: Moment, seconds: float = IDLE_SECONDS) -> bool:
    """Whether by either clock more than that has passed; a wall clock that went back says nothing, so it counts."""
    return max(abs(end - start) for start, end in zip(since, until, strict=True)) > seconds
