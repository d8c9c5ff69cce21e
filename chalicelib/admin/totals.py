"""Sums of what principals did: of a window by key and by grant, the busiest of them, and one window after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chalicelib.admin import paging, probed
from chalicelib.audit import PAGE_LIMIT
from chalicelib.quota import WINDOWS
from chalicelib.usage import Usage, UsageQuery, Use

PAGES: Final = 10
"""Pages of uses that are read for one window: 2,000 principals under a grant each."""
PAGES_OF_SERIES: Final = 90
"""The same for all windows of a series together, each of which has one at least: over DynamoDB a page takes a tenth of a second."""
MOST_POINTS: Final = {"minute": 60, "hour": 72, "day": 35}
"""Windows of a series at most, which are also those that it has unless others are asked for."""
ORDERS: Final = ("calls", "refused", "tokens")
"""By what the busiest are found."""


@dataclass(slots=True)
class Sums:
    """What some uses come to."""

    calls: int = 0
    """Calls admitted."""
    tokens: int = 0
    """Tokens issued."""
    refused_calls: Counter[str] = field(default_factory=Counter)
    """Calls refused, by reason."""
    refused_tokens: Counter[str] = field(default_factory=Counter)
    """Tokens refused, by reason."""
    principals: set[str] = field(default_factory=set)
    """Who it was."""

    def add(self, use: Use) -> None:
        """Add one use."""
        self.calls += use.calls
        self.tokens += use.tokens
        self.refused_calls.update(use.refused_calls)
        self.refused_tokens.update(use.refused_tokens)
        self.principals.add(use.principal)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers; of principals their number."""
        refused = {name: dict(sorted(getattr(self, name).items())) for name in ("refused_calls", "refused_tokens")}
        return {"calls": self.calls, "tokens": self.tokens, **refused, "principals": len(self.principals)}


@dataclass(frozen=True, slots=True)
class Totals:
    """What was done in one window."""

    query: UsageQuery
    uses: tuple[Use, ...]
    complete: bool
    """Whether everything was read; a window with more uses than are read is summed up in part."""

    @classmethod
    def read(cls, usage: Usage, query: UsageQuery, pages: int = PAGES) -> Totals:
        """Read a window, so many pages of it at most, without what probes alone did. Raises Unavailable."""
        found: list[Use] = []
        complete = False
        for page in paging.uses(usage, replace(query, limit=PAGE_LIMIT, after="", models=False), pages):
            found += [use for use in page.uses if not probed.is_left_out(use, query)]
            complete = not page.next
        return cls(query, tuple(found), complete)

    def sums(self) -> Sums:
        """Return the sums of all."""
        return _sum(self.uses)

    def by(self, name: str) -> dict[str, Sums]:
        """Return the sums by `key` or `grant`, in alphabetical order."""
        found: dict[str, Sums] = {}
        for use in self.uses:
            found.setdefault(getattr(use, name), Sums()).add(use)
        return dict(sorted(found.items()))

    def busiest(self, by: str, most: int) -> tuple[Use, ...]:
        """Return the uses with the most of one of ORDERS, the largest first; none that have nothing of it."""
        measured = [(_measure(use, by), use) for use in self.uses]
        ordered = sorted((one for one in measured if one[0]), key=lambda one: (-one[0], one[1].cursor_key()))
        return tuple(use for _, use in ordered[:most])

    def span(self) -> dict[str, Any]:
        """Return the window as the admin API answers it."""
        start = self.query.start
        return {"start": start, "end": start + WINDOWS[self.query.window], "complete": self.complete}


def points(window: str, since: int | None, until: int) -> range:
    """Return when each window of a series began. since, until: epoch seconds. Raises ValueError for too many or none."""
    length = WINDOWS[window]
    last = until - until % length
    first = last - (MOST_POINTS[window] - 1) * length if since is None else since - since % length
    found = range(first, last + 1, length)
    if not 0 < len(found) <= MOST_POINTS[window]:
        raise ValueError(f"a series by {window} has 1 to {MOST_POINTS[window]} of them: change since or until")
    return found


def series(usage: Usage, query: UsageQuery, starts: Iterable[int]) -> tuple[Totals, ...]:
    """Return each window of a series; one in which nothing was done is empty. Raises Unavailable."""
    wanted = tuple(starts)
    pages = max(1, PAGES_OF_SERIES // len(wanted))
    return tuple(Totals.read(usage, replace(query, start=start), pages) for start in wanted)


def _sum(uses: Iterable[Use]) -> Sums:
    found = Sums()
    for use in uses:
        found.add(use)
    return found


def _measure(use: Use, by: str) -> int:
    if by == "refused":
        return sum(use.refused_calls.values()) + sum(use.refused_tokens.values())
    return use.calls if by == "calls" else use.tokens
