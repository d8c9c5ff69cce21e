"""When each key was last used, as far back as counts are kept."""

from __future__ import annotations

from collections.abc import Collection

from chalicelib.admin import totals
from chalicelib.admin.totals import PAGES_OF_SERIES, Totals
from chalicelib.usage import Usage, UsageQuery


def last_used(usage: Usage, keys: Collection[str], now: int) -> tuple[dict[str, int], bool]:
    """Return when a caller of a key was last seen (epoch seconds), and whether that is all that is known.

    A key that is not in it was called by nobody in 35 days (`totals.MOST_POINTS`), or, if not all was read, by nobody who was read:
    of each day it is a bounded number. Raises Unavailable.
    """
    found: dict[str, int] = {}
    complete = True
    days = totals.points("day", None, now)
    for start in reversed(days):
        missing = set(keys) - found.keys()
        if not missing:
            break
        day = Totals.read(usage, UsageQuery("day", start, now=now), PAGES_OF_SERIES // len(days))
        complete = complete and day.complete
        for use in day.uses:
            if use.calls and use.key in missing:
                found[use.key] = max(found.get(use.key, 0), use.last_seen)
    return found, complete
