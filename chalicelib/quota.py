"""How much: limits per window, and which number a call or a token is in each."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

WINDOWS: Mapping[str, int] = {"minute": 60, "hour": 3600, "day": 86400}
"""Seconds of each window. Windows start at multiples of their length since the epoch (UTC)."""

EVERYBODY = "*"
"""The principal of the counters of a grant's `total`; no real principal has this name."""

COUNT_LIMIT = 1_000_000_000
COUNTERS_KEPT: Mapping[str, int] = {"minute": 3 * 86400, "hour": 3 * 86400, "day": 35 * 86400}
"""Seconds that counters are kept after their window has ended, for people to read. Stores may delete them from then on."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` in each window of this name."""

    count: int
    window: str

    def __str__(self) -> str:
        return f"{self.count}/{self.window}"


class Counter(NamedTuple):
    """One count: of the calls or tokens of a principal under a grant, in one window."""

    what: str
    """`calls` or `tokens`; of a budget `usage` or `spend`."""
    grant: str
    principal: str
    """A `sub`, or EVERYBODY."""
    window: str
    """One of WINDOWS."""
    start: int
    """When the window began, in epoch seconds."""


class Exceeded(NamedTuple):
    """The limit that stops this call, and the seconds until its window ends."""

    limit: Limit
    retry_after: int


class Allowance(NamedTuple):
    """What is left of a limit: how many more, until how many seconds from now. shared: among all callers of a grant."""

    limit: Limit
    left: int
    resets: int
    shared: bool = False
    what: str = ""
    """"usage" or "spend" of a budget; "" of calls and tokens."""


def counters(what: str, grant: str, principal: str, now: int) -> tuple[Counter, ...]:
    """Return the three counters, minute, hour and day, that something done at `now` counts in."""
    return _counters(what, grant, principal, now - now % WINDOWS["minute"])


@functools.lru_cache(maxsize=1024)
def _counters(what: str, grant: str, principal: str, minute: int) -> tuple[Counter, ...]:
    names = WINDOWS.items()
    return tuple([Counter(what, grant, principal, window, minute - minute % length) for window, length in names])


def window_ends(counter: Counter) -> int:
    """Return when a counter's window ends, in epoch seconds."""
    return counter.start + WINDOWS[counter.window]


def last_seen(counters: Iterable[Counter]) -> int:
    """Return the start of the minute that something is counted in: when its principal was seen last."""
    return max(counter.start for counter in counters)


def cursor_key(principal: str, grant: str) -> str:
    """Return one text for a principal under a grant. No grant's name holds a `#`."""
    return f"{principal}#{grant}"


def read_cursor_key(text: str) -> tuple[str, str]:
    """Return principal and grant of such a text, two empty ones for ""; raises ValueError if it is malformed."""
    principal, mark, grant = text.rpartition("#")
    if text and (not mark or len(text) > 1024):
        raise ValueError("not a cursor of the usage")
    return principal, grant


def exceeded(limits: Iterable[Limit], numbers: Mapping[str, int], now: int) -> Exceeded | None:
    """Return the limit that a call or token exceeds, of several the one whose window ends last; None if it exceeds none.

    numbers: by window, which number it is (1 for the first). A window that is missing counts as exceeded.
    """
    over = None
    for limit in limits:
        if _is_beyond(limit, numbers):
            found = Exceeded(limit, _left_of_window(limit, now))
            over = found if over is None or found.retry_after > over.retry_after else over
    return over


def _is_beyond(limit: Limit, numbers: Mapping[str, int]) -> bool:
    # SECURITY: one rule for who decides and for who counts: a call that is admitted must be one that is counted
    # (test_calls_are_exact).
    return numbers.get(limit.window, COUNT_LIMIT + 1) > limit.count


def is_within(limits: Iterable[Limit], numbers: Mapping[str, int]) -> bool:
    """Whether a call or token of these numbers, as in `exceeded`, is within all limits."""
    for limit in limits:  # noqa: SIM110  a generator takes three times as long, for every call
        if _is_beyond(limit, numbers):
            return False
    return True


def has_room(limits: Iterable[Limit], taken: Mapping[str, int]) -> bool:
    """Whether one more is within every limit. taken: by window, how many there were; one that is missing has no room."""
    return all(taken.get(limit.window, limit.count) < limit.count for limit in limits)


def allowances(
    limits: Iterable[Limit], taken: Mapping[str, int], now: int, *, shared: bool = False
) -> tuple[Allowance, ...]:
    """Return what is left of each limit. taken: by window, how many were admitted; one that is missing has none left."""
    return tuple(
        Allowance(
            limit, max(0, limit.count - taken.get(limit.window, limit.count)), _left_of_window(limit, now), shared
        )
        for limit in limits
    )


def _left_of_window(limit: Limit, now: int) -> int:
    return WINDOWS[limit.window] - now % WINDOWS[limit.window]


def parse(text: object) -> Limit | None:
    """Read `N/minute`, `N/hour` or `N/day`; None if it is not one. N is a positive decimal number."""
    count, slash, window = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not slash or window not in WINDOWS or not count.isascii() or not count.isdigit() or len(count) > 10:
        return None
    return Limit(int(count), window) if 0 < int(count) <= COUNT_LIMIT else None
