"""What is going on: this hour and this day by key and grant, who is busiest, and what is revoked, in one answer."""

from __future__ import annotations

from typing import Any, Final

from chalicelib.admin import query
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.totals import Totals
from chalicelib.audit import PAGE_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.revocation import Revocation, Revocations
from chalicelib.usage import UsageQuery, Use, window_start

BUSIEST: Final = 20
"""Principals under a grant that are named."""
REVOCATION_PAGES: Final = 5
"""Pages of revocations that are read."""
_FROZEN: Final = 50
"""Revocations that are named: of everything, issuers, keys and grants."""


def get_now(request: Request, ports: AdminPorts) -> Response:
    """Answer what is going on. How much is read is bounded; `complete` says whether it was all."""
    request.administrator()
    query.read(request)
    now = ports.clock()
    hour, day = (
        Totals.read(ports.usage, UsageQuery(window, window_start(window, now), now=now)) for window in ("hour", "day")
    )
    return Response(
        {
            "at": now,
            "hour": _window(hour),
            "day": _window(day),
            "busiest": [_busy(use, hour) for use in hour.busiest("calls", BUSIEST)],
            "revoked": _revoked(ports.revocations, now),
            "revocation_probes": [one.to_json() for one in ports.revocation_probes.revocation_probes()],
        }
    )


def _window(totals: Totals) -> dict[str, Any]:
    keys, grants = ({name: one.to_json() for name, one in totals.by(of).items()} for of in ("key", "grant"))
    return {**totals.span(), "total": totals.sums().to_json(), "keys": keys, "grants": grants}


def _busy(use: Use, totals: Totals) -> dict[str, Any]:
    shown = ("principal", "name", "grant", "key", "calls", "tokens", "refused_calls", "last_seen")
    found = use.to_json()
    return {**{name: found[name] for name in shown}, "share": round(use.calls / (totals.sums().calls or 1), 4)}


def _revoked(stored: Revocations, now: int) -> dict[str, Any]:
    """Return how many revocations are in force by scope, and the wide ones themselves; those of tokens are not counted."""
    found: list[Revocation] = []
    after = ""
    for _ in range(REVOCATION_PAGES):
        page = stored.revocations("", after, PAGE_LIMIT)
        found += [one for one in page.revocations if one.in_force(now)]
        after = page.next
        if not after:
            break
    by_scope: dict[str, int] = {}
    for one in found:
        by_scope[one.scope] = by_scope.get(one.scope, 0) + 1
    wide = [one for one in found if one.scope != "principal"]
    named = ("id", "scope", "target", "reason", "author", "at", "until")
    frozen = [{name: one.to_json()[name] for name in named} for one in wide[:_FROZEN]]
    return {"in_force": dict(sorted(by_scope.items())), "frozen": frozen, "complete": not after}
