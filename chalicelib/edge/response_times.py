"""How long answers took to begin, and how many failed: by minute for an hour and by hour for a day, of all edges that see answers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection
from typing import Any, Final, NamedTuple, Protocol

BOUNDS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets in seconds; the last bucket has none."""
SHOWN_SECONDS: Final = {"minute": 3600, "hour": 86400}
"""Of what lies so far back, each window is shown; with the one that is under way."""
FAILED_FROM: Final = 500
"""The least HTTP status of an answer that counts as failed."""


class Responses(NamedTuple):
    """The answers of one window. Refused calls are not among them."""

    window: str
    """`minute` or `hour`."""
    start: int
    """Epoch seconds."""
    failed: int
    """Answers with a status of FAILED_FROM or more, or that broke off."""
    buckets: tuple[int, ...]
    """Answers by their time to the first byte, one count for each of BOUNDS and one beyond."""

    @property
    def calls(self) -> int:
        """All answers, failed ones too."""
        return sum(self.buckets)

    def quantile(self, part: float) -> float | None:
        """Return the seconds within which this part of the answers began; None without any. part: from 0 to 1.

        Within a bucket answers are taken to be spread evenly; of the last bucket, its lower bound is returned.
        """
        wanted = part * self.calls
        below = 0
        for index, count in enumerate(self.buckets):
            if count and below + count >= wanted:
                lower = BOUNDS[index - 1] if index else 0.0
                upper = BOUNDS[index] if index < len(BOUNDS) else lower
                return round(lower + (upper - lower) * (wanted - below) / count, 4)
            below += count
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        times = {"p50_seconds": self.quantile(0.5), "p95_seconds": self.quantile(0.95)}
        return {"start": self.start, "calls": self.calls, "failed": self.failed, **times}


def bucket(seconds: float) -> int:
    """Return in which bucket an answer is. seconds: to its first byte."""
    return bisect_left(BOUNDS, seconds) if math.isfinite(seconds) else len(BOUNDS)


class ResponseTimes(Protocol):
    """Where they are added up. Methods raise Unavailable."""

    def add(self, noted: Collection[Responses]) -> None:
        """Add to what there is of each window."""

    def responses(self, now: int) -> tuple[Responses, ...]:
        """Return the windows of SHOWN_SECONDS that there is anything of, the oldest of each first. now: epoch seconds."""
