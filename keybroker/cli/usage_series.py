"""`keybroker usage --since …`: the sums of one window after the other."""

from __future__ import annotations

import time
from typing import Any, Final

from keybroker.cli import output, shortened, usage_tables
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.settings import Settings
from keybroker.cli.sparkline import sparkline
from keybroker.cli.times import format_time

SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_MOST: Final = {"minute": 60, "hour": 72, "day": 35}
"""Windows that the broker answers at most in one series."""


def shortest_window(reach: int) -> str | None:
    """Return the shortest window by which a series reaches so many seconds back, whenever that is; None if none does."""
    # A series that begins within a window has that one, too, so it is one more than the reach has.
    return next((window for window, length in SECONDS.items() if reach <= (_MOST[window] - 1) * length), None)


def earliest(window: str, until: int) -> int:
    """Return from when on a series of windows up to a time can be asked for, in epoch seconds."""
    length = SECONDS[window]
    return until - until % length - (_MOST[window] - 1) * length


def show(client: AdminClient, settings: Settings, options: dict[str, Any]) -> None:
    """Show a series by the shortest window that reaches so far back, or by the one that is named; less if none reaches."""
    until = options["until"] or int(time.time())
    window = options["window"] or shortest_window(until - options["since"]) or "day"
    since = max(options["since"], earliest(window, until))
    if since > options["since"]:
        output.message(f"from {format_time(since)} on: a series has {_MOST[window]} {window}s at most")
    named = {name: options[name] for name in ("principal", "grant", "key")}
    # The end is named, too: by the broker's own clock there might be a window more.
    query = {"series": window, "since": since, "until": until, **named}
    found = client.get("/admin/usage", query)
    if settings.json:
        output.as_json(found, line=settings.lines)
        return
    points = found["items"]
    calls = [one["calls"] for one in points]
    refused = [usage_tables.refused(one) for one in points]
    headings = (window, "calls", "refused", "tokens", "refused", "principals")
    output.rows(
        headings,
        [
            (
                format_time(one["start"])[: 10 if window == "day" else 16],
                one["calls"],
                shortened.refused(one["refused_calls"]),
                one["tokens"],
                shortened.refused(one["refused_tokens"]),
                one["principals"],
            )
            for one in points
            if one["principals"]
        ],
    )
    output.message(
        f"calls    {sparkline(calls)} at most {max(calls):,} in {'an' if window == 'hour' else 'a'} {window}"
    )
    output.message(f"refused  {sparkline(refused)} at most {max(refused):,}")
    partly = "" if found["complete"] else "; not everything was read, so these are too low"
    output.message(f"together: {usage_tables.sums(points)}{partly}")
