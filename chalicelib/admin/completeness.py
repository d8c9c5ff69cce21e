"""Whether the audit and the counters say the same: each token issued is one event, and is counted once."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.admin import audit_pages
from chalicelib.audit import PAGE_LIMIT, Audit, Query
from chalicelib.quota import COUNTERS_KEPT, WINDOWS
from chalicelib.usage import Usage, UsageQuery, window_start

PAGES = 100
LOOKED_AT = PAGES * PAGE_LIMIT
"""Events and counters, of each so many, that are looked at unless told otherwise."""

_Pairs = dict[tuple[str, str], int]
"""How many, by principal and grant."""


@dataclass(frozen=True, slots=True)
class Span:
    """One window. window: one of quota.WINDOWS. start: when it began, epoch seconds."""

    window: str
    start: int

    @property
    def end(self) -> int:
        """When it ends, epoch seconds."""
        return self.start + WINDOWS[self.window]

    @classmethod
    def of(cls, window: str, at: int | None, now: int) -> Span:
        """Return the window of a time, or the newest that is over; raises ValueError if it cannot be checked at `now`."""
        start = window_start(window, now) - WINDOWS[window] if at is None else window_start(window, at)
        span = cls(window, start)
        if start > now or span.end + COUNTERS_KEPT <= now:
            raise ValueError("start must be neither ahead nor in a window that ended 3 days ago: counters are not kept")
        return span


@dataclass(frozen=True, slots=True)
class Differing:
    """A principal under a grant of whose tokens there are more or fewer events than were counted."""

    principal: str
    grant: str
    events: int
    counted: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was found. complete: whether all events and counters were looked at; if not, nothing is said to differ."""

    span: Span
    complete: bool
    issued_events: int
    counted: int
    differing: tuple[Differing, ...]

    @property
    def agree(self) -> bool:
        """Whether everything was looked at, and nothing differs."""
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


def check(span: Span, audit: Audit, usage: Usage, now: int, pages: int = PAGES) -> Completeness:
    """Compare the tokens of one window as the audit has them and as they were counted; raises Unavailable.

    pages: how many of events and of counters are looked at, at most.
    """
    counted, all_counters = _counted(span, usage, pages)
    events: Counter[tuple[str, str]] = Counter()
    all_events = False
    for page in audit_pages.newest(audit, Query({"kind": "token.issued"}, span.start, span.end), pages):
        events.update((event.principal, event.grant) for event in page.events)
        all_events = not page.next
    # While the window runs, tokens are issued between the two looks: whatever was counted before and after is right.
    least, most = counted, _counted(span, usage, pages)[0] if now < span.end else counted
    complete = all_counters and all_events
    differing = tuple(
        Differing(*pair, events[pair], most.get(pair, 0))
        for pair in sorted(events.keys() | most.keys())
        if not least.get(pair, 0) <= events[pair] <= most.get(pair, 0)
    )
    return Completeness(span, complete, events.total(), sum(most.values()), differing if complete else ())


def _counted(span: Span, usage: Usage, pages: int) -> tuple[_Pairs, bool]:
    found: _Pairs = {}
    after = ""
    for _ in range(pages):
        page = usage.uses(UsageQuery(span.window, span.start, after=after, limit=PAGE_LIMIT))
        found |= {(one.principal, one.grant): one.tokens for one in page.uses if one.tokens}
        after = page.next
        if not after:
            return found, True
    return found, False
