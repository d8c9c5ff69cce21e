"""What is going on: this hour and this day by key and grant, who is busiest, and what is revoked, in one answer."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from chalicelib.admin import query
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.totals import Totals
from chalicelib.audit import PAGE_LIMIT
from chalicelib.edge.response_times import SHOWN_SECONDS, ResponseTimes
from chalicelib.http.messages import Request, Response
from chalicelib.revocation import EPOCHS, Revocation, Revocations
from chalicelib.usage import UsageQuery, Use, window_start

BUSIEST: Final = 20
"""Principals under a grant that are named."""
REVOCATION_PAGES: Final = 5
"""Pages of revocations that are read."""
_FROZEN: Final = 50
"""Revocations that are named: of everything, issuers, keys and grants."""
_WIDE: Final = tuple(scope for scope in EPOCHS if scope != "principal")


def get_now(request: Request, ports: AdminPorts) -> Response:
    """Answer what is going on. How much is read is bounded; `complete` says whether it was all."""
    request.administrator()
    query.read(request)
    now = ports.clock()
    hour, day = (
        Totals.read(ports.usage, UsageQuery(window, window_start(window, now), now=now)) for window in ("hour", "day")
    )
    calls = hour.sums().calls
    return Response(
        {
            "at": now,
            "hour": _window(hour),
            "day": _window(day),
            "busiest": [_busy(use, calls) for use in hour.busiest("calls", BUSIEST)],
            "revoked": _revoked(ports.revocations, now),
            "responses": _responses(ports.response_times, now),
            "revocation_probes": [one.to_json() for one in ports.revocation_probes.revocation_probes()],
        }
    )


def _window(totals: Totals) -> dict[str, Any]:
    keys, grants = ({name: one.to_json() for name, one in totals.by(of).items()} for of in ("key", "grant"))
    return {**totals.span(), "total": totals.sums().to_json(), "keys": keys, "grants": grants}


def _responses(kept: ResponseTimes, now: int) -> dict[str, Any]:
    found = kept.responses(now)
    return {f"{window}s": [one.to_json() for one in found if one.window == window] for window in SHOWN_SECONDS}


def _busy(use: Use, calls: int) -> dict[str, Any]:
    shown = ("principal", "name", "grant", "key", "calls", "tokens", "refused_calls", "last_seen")
    found = use.to_json()
    return {**{name: found[name] for name in shown}, "share": round(use.calls / (calls or 1), 4)}


def _revoked(stored: Revocations, now: int) -> dict[str, Any]:
    """Return how many revocations are in force by scope, and the wide ones themselves; those of tokens are not counted."""
    found, complete = _in_force(stored, "", REVOCATION_PAGES, now)
    if not complete:
        # SECURITY: many revocations of principals, as a probe makes them, never hide that everything is revoked
        # (test_principals_hide_no_freeze).
        wide = [one for scope in _WIDE for one in _in_force(stored, scope, 1, now)[0]]
        found = [*wide, *(one for one in found if one.scope not in _WIDE)]
    by_scope = Counter(one.scope for one in found)
    widest = sorted((one for one in found if one.scope in _WIDE), key=lambda one: _WIDE.index(one.scope))
    named = ("id", "scope", "target", "reason", "author", "at", "until")
    frozen = [{name: one.to_json()[name] for name in named} for one in widest[:_FROZEN]]
    return {
        "in_force": dict(sorted(by_scope.items())),
        "frozen": frozen,
        "complete": complete and len(widest) <= _FROZEN,
    }


def _in_force(stored: Revocations, scope: str, pages: int, now: int) -> tuple[list[Revocation], bool]:
    """Return those in force of so many pages, the newest first, and whether these were all."""
    found: list[Revocation] = []
    after = ""
    for _ in range(pages):
        page = stored.revocations(scope, after, PAGE_LIMIT)
        found += [one for one in page.revocations if one.in_force(now)]
        after = page.next
        if not after:
            break
    return found, not after
