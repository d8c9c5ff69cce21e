"""Checks the audit against the counters: each token issued is one event, and is counted once."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from chalicelib.admin import paging
from chalicelib.audit import PAGE_LIMIT, Audit
from chalicelib.quota import COUNTERS_KEPT, WINDOWS
from chalicelib.usage import Usage, UsageQuery, window_start


class Bounds(NamedTuple):
    """How much a check reads at most."""

    pages: int = 100
    """Pages of counters."""
    events: int = 2_000_000
    """Events. A store may end earlier, when it has no more time."""


_Counts = dict[tuple[str, str], int]
"""How many tokens, by principal and grant."""


@dataclass(frozen=True, slots=True)
class Span:
    """One window of time. window: one of quota.WINDOWS. start: when it begins, epoch seconds."""

    window: str
    start: int

    @property
    def end(self) -> int:
        """When it ends, epoch seconds."""
        return self.start + WINDOWS[self.window]

    @classmethod
    def containing(cls, window: str, at: int | None, now: int) -> Span:
        """Return the window that contains a time, or for None the newest that is over.

        Raises ValueError for a window that has not begun at `now`, or whose counters may be gone.
        """
        start = window_start(window, now) - WINDOWS[window] if at is None else window_start(window, at)
        span = cls(window, start)
        if start > now or span.end + COUNTERS_KEPT["hour"] <= now:
            raise ValueError(
                "start must not be in the future, or in a window that ended 3 days ago or earlier, whose counters may be gone"
            )
        return span


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A principal and a grant for which the audit has more or fewer tokens than were counted."""

    principal: str
    grant: str
    events: int
    counted: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """The result of a check."""

    span: Span
    """The window that was checked."""
    complete: bool
    """Whether all events and counters were read."""
    issued_events: int
    """Tokens issued, according to the audit."""
    counted: int
    """Tokens issued, according to the counters."""
    differing: tuple[Mismatch, ...]
    """Where the two differ; empty unless `complete`."""

    @property
    def agree(self) -> bool:
        """Whether everything was read, and nothing differs."""
        return self.complete and not self.differing

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {
            "window": self.span.window,
            "start": self.span.start,
            "end": self.span.end,
            "complete": self.complete,
            "issued_events": self.issued_events,
            "counted": self.counted,
            "agree": self.agree,
            "differing": [asdict(one) for one in self.differing],
        }


def check(span: Span, audit: Audit, usage: Usage, now: int, bounds: Bounds | None = None) -> Completeness:
    """Compare the tokens issued in one window according to the audit and to the counters; raises Unavailable."""
    bounds = bounds or Bounds()
    counted, all_counters = _counted(span, usage, bounds.pages)
    issued = audit.count_issued(span.start, span.end, bounds.events)
    events = Counter(issued.tokens)
    # In a window that is not over, tokens are issued while this reads: any number between the two counts is right.
    least, most = counted, _counted(span, usage, bounds.pages)[0] if now < span.end else counted
    complete = all_counters and issued.complete
    differing = tuple(
        Mismatch(*pair, events[pair], most.get(pair, 0))
        for pair in sorted(events.keys() | most.keys())
        if not least.get(pair, 0) <= events[pair] <= most.get(pair, 0)
    )
    return Completeness(span, complete, events.total(), sum(most.values()), differing if complete else ())


def _counted(span: Span, usage: Usage, pages: int) -> tuple[_Counts, bool]:
    """Return how many tokens were counted, and whether all counters were read."""
    found: _Counts = {}
    complete = False
    for page in paging.uses(usage, UsageQuery(span.window, span.start, limit=PAGE_LIMIT, models=False), pages):
        found |= {(one.principal, one.grant): one.tokens for one in page.uses if one.tokens}
        complete = not page.next
    return found, complete
