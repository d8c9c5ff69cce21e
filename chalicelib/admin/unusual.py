"""Whether a principal calls more than it ever did: this hour beside its own same hours and its own days, as far as they are kept."""

from __future__ import annotations

from collections.abc import Iterable

LEAST = 100
"""Calls in an hour below which nothing is unusual."""
TIMES = 3
"""More than so many times the usual is unusual."""
DAY_IN_HOURS = 8
"""A day's calls are taken to have come within so many hours."""


def usual(hours: Iterable[int], days: Iterable[int]) -> int | None:
    """Return the most calls that one of its hours had, by what it did before; None if it never called.

    hours: calls in the same hour of earlier days. days: calls of whole earlier days.
    """
    most = max((*hours, *(day // DAY_IN_HOURS for day in days)), default=0)
    return most or (1 if any(days) else None)


def is_unusual(calls: int, before: int | None) -> bool:
    """Whether calls so far in this hour are out of the usual; what never called before has nothing to be compared with."""
    return before is not None and calls >= LEAST and calls > TIMES * before
