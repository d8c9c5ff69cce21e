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


def show(client: AdminClient, settings: Settings, options: dict[str, Any]) -> None:
    """Show a series by the shortest window that reaches so far back, or by the one that is named."""
    until = options["until"] or int(time.time())
    reach = until - options["since"]
    window = options["window"] or shortest_window(reach) or "day"
    named = {name: options[name] for name in ("principal", "grant", "key")}
    query = {"series": window, "since": options["since"], "until": options["until"], **named}
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
    output.message(f"calls    {sparkline(calls)} at most {max(calls):,} in a {window}")
    output.message(f"refused  {sparkline(refused)} at most {max(refused):,}")
    partly = "" if found["complete"] else "; not everything was read, so these are too low"
    output.message(f"together: {usage_tables.sums(points)}{partly}")
