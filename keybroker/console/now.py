"""*Now*: what is going on."""

from __future__ import annotations

from typing import Any

from keybroker.console.console import Console
from keybroker.console.server import Page, Request

_REFUSALS = 8


def show(console: Console, request: Request) -> Page:
    """Show the page, or its live part."""
    now, minutes, hours, refused = console.api.get_all(
        ("/admin/now", {}),
        ("/admin/usage", {"series": "minute"}),
        ("/admin/usage", {"series": "hour", "since": int(console.clock()) - 23 * 3600}),
        ("/admin/audit", {"kind": "token.refused", "limit": _REFUSALS}),
    )
    template = "now_live.html" if request.is_part else "now.html"
    return console.page(
        template,
        "Now",
        (now, minutes, hours, refused),
        going_on=now.data,
        plots=[plot("Calls by minute, the last hour", minutes.data), plot("Calls by hour, the last day", hours.data)],
        refusals=(refused.data or {}).get("items", []),
        reasons=reasons(now.data),
    )


def plot(title: str, series: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a plot and its table are drawn from."""
    items = (series or {}).get("items", [])
    return {
        "title": title,
        "starts": [one["start"] for one in items],
        "calls": [one["calls"] for one in items],
        "refused": [sum(one["refused_calls"].values()) for one in items],
        "tokens": [one["tokens"] for one in items],
    }


def reasons(going_on: dict[str, Any] | None) -> list[tuple[str, int, int]]:
    """Return each reason for which calls or tokens were refused this hour and today, the most frequent first."""
    if going_on is None:
        return []
    windows = [going_on[name]["total"] for name in ("hour", "day")]
    counted = [
        {
            reason: one["refused_calls"].get(reason, 0) + one["refused_tokens"].get(reason, 0)
            for reason in one["refused_calls"].keys() | one["refused_tokens"].keys()
        }
        for one in windows
    ]
    names = sorted(set().union(*counted), key=lambda reason: (-counted[1].get(reason, 0), reason))
    return [(reason, counted[0].get(reason, 0), counted[1].get(reason, 0)) for reason in names]
