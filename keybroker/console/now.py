"""*Now*: what is going on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keybroker.console import in_force, plots
from keybroker.console.console import Console
from keybroker.console.plots import Plot
from keybroker.console.server import Page, Request

_REFUSALS: Final = 8
_SHOWN: Final = 10
"""Principals that are cut off, the newest; the others are counted."""
_NOW: Final = ("at", "hour", "day", "busiest", "revoked", "revocation_probes")


def show(console: Console, request: Request) -> Page:
    """Show the page, or its live part."""
    now, minutes, hours, refused, newest = console.api.get_all(
        ("/admin/now", {}, _NOW),
        ("/admin/usage", {"series": "minute"}),
        ("/admin/usage", {"series": "hour", "since": int(console.clock()) - 23 * 3600}),
        ("/admin/audit", {"kind": "token.refused", "limit": _REFUSALS}),
        in_force.NEWEST,
    )
    stopped = in_force.read(console.api, newest)
    template = "now_live.html" if request.is_part else "now.html"
    return console.page(
        template,
        "Now",
        (now, minutes, hours, refused, newest),
        in_force=stopped,
        shown=_SHOWN,
        acknowledged=console.revocations.get(request.query.get("revoked", "")),
        going_on=now.data,
        plots=[
            plots.of_calls("Calls by minute, the last hour", minutes.data),
            plots.of_calls("Calls by hour, the last day", hours.data),
        ],
        responses=_responses(now.data, {"minute": minutes.data, "hour": hours.data}),
        latest=_latest(now.data),
        refusals=refused.data["items"] if refused.data else None,
        reasons=reasons(now.data),
    )


def _latest(going_on: dict[str, Any] | None) -> dict[str, str] | None:
    """Return this hour's response times and errors, as texts; None if there was no answer, or nobody adds that up."""
    hours = ((going_on or {}).get("responses") or {}).get("hours", [])
    if not hours or going_on is None or hours[-1]["start"] != going_on["hour"]["start"]:
        return None
    hour = hours[-1]
    return {
        "half": plots.seconds(hour["p50_seconds"]),
        "most": plots.seconds(hour["p95_seconds"]),
        "failed": plots.percent(hour),
    }


def _responses(going_on: dict[str, Any] | None, series: Mapping[str, dict[str, Any] | None]) -> list[Plot]:
    """Return the plots of how long answers took and how many failed; none where nobody adds that up."""
    found = (going_on or {}).get("responses") or {}
    made = [
        (over, [one["start"] for one in (series[name] or {}).get("items", [])], found[f"{name}s"])
        for name, over in (("minute", "by minute"), ("hour", "by hour"))
        if found.get(f"{name}s")
    ]
    return [
        *(plots.of_times(f"Seconds to the first byte, {over}", starts, responses) for over, starts, responses in made),
        *(plots.of_failures(f"Answers that failed, {over}", starts, responses) for over, starts, responses in made),
    ]


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
