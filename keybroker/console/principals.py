"""*Principals*: everybody who was active today or yesterday, to be searched, sorted and paged here; and one of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keybroker.cli import limit_table
from keybroker.cli.admin_client import segment
from keybroker.cli.command_error import CommandError
from keybroker.console import plots
from keybroker.console.api import Api, Known
from keybroker.console.console import Console
from keybroker.console.proof import proof_of
from keybroker.console.server import Page, Request
from keybroker.errors import KeybrokerError

PAGE: Final = 50
_LISTED_SECONDS: Final = 15
_API_PAGE: Final = 200
_MOST_PAGES: Final = 100
_EVENTS: Final = 20
_ORDERS: Final = ("calls", "refused", "tokens", "last_seen", "name")


@dataclass
class Listing:
    """All principals, read anew when what is known is some seconds old. One thread reads; others wait for it."""

    api: Api
    _known: Known = field(default_factory=lambda: Known(None, 0))
    _is_cut: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, now: float) -> tuple[Known, bool]:
        """Return them, and whether there are more than are read."""
        with self._lock:
            if self._known.data is None or self._known.problem or now - self._known.at >= _LISTED_SECONDS:
                self._read()
            return self._known, self._is_cut

    def _read(self) -> None:
        items: list[Any] = []
        after = None
        for _ in range(_MOST_PAGES):
            page = self.api.get("/admin/principals", {"limit": _API_PAGE, "after": after})
            if page.problem or page.data is None:
                # What was read before stays, with its time: half a list would look like all of it.
                self._known = Known(self._known.data, self._known.at, page.problem)
                return
            items += page.data["items"]
            after = page.data["next"]
            if after is None:
                break
        self._is_cut = after is not None
        self._known = Known(items, page.at)


def show_all(console: Console, listing: Listing, request: Request) -> Page:
    """Show one page of those that fit what was typed."""
    known, is_cut = listing.read(console.clock())
    query, order = request.query.get("q", "")[:300], request.query.get("sort", "")
    order = order if order in _ORDERS else "calls"
    found = _sorted(_matching(known.data or [], query), order)
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, _whole(request.query.get("page", "1"))), pages)
    return console.page(
        "principals_found.html" if request.is_part else "principals.html",
        "Principals",
        (known,),
        items=found[(number - 1) * PAGE : number * PAGE],
        count=len(found),
        every=len(known.data or []),
        is_cut=is_cut,
        q=query,
        sort=order,
        number=number,
        pages=pages,
    )


def spark(console: Console, request: Request) -> Page:
    """Show a principal's calls by hour, as a line."""
    since = int(console.clock()) - 23 * 3600
    query = {"series": "hour", "since": since, "principal": request.query.get("id", "")}
    found = console.api.get("/admin/usage", query)
    return console.page("spark.html", "", (found,), plot=plots.of_calls("", found.data))


def show_one(console: Console, request: Request) -> Page:
    """Show a principal, what is left of each of its limits, its trail, and whether it is cut off."""
    sub = request.query.get("id", "")
    found, events, minutes, stopped = console.api.get_all(
        (f"/admin/principals/{segment(sub)}", {}),
        ("/admin/audit", {"principal": sub, "limit": _EVENTS}),
        ("/admin/usage", {"series": "minute", "principal": sub}),
        ("/admin/revocations", {"scope": "principal", "in_force": "true", "limit": _API_PAGE}),
    )
    own = [one for one in (stopped.data or {}).get("items", []) if one["target"] == sub]
    trail = (events.data or {}).get("items", [])
    issued = next((one for one in trail if one["kind"] == "token.issued"), None)
    return console.page(
        "principal.html",
        (found.data or {}).get("name") or "Principal",
        (found, events, minutes, stopped),
        status=404 if found.data is None else 200,
        sub=sub,
        found=found.data,
        limits=_limits(console.api, found.data, sub, int(console.clock())),
        trail=trail,
        issued=issued,
        series=plots.of_calls("Calls by minute, the last hour", minutes.data),
        revocations=own,
        proof=proof_of(console, own[0]) if own else None,
    )


def _limits(api: Api, found: Mapping[str, Any] | None, sub: str, now: int) -> list[dict[str, Any]]:
    grants = sorted({one["grant"] for one in found["today"]["grants"] if one["grant"]}) if found else []
    try:
        return limit_table.read(api.client, sub, grants, now)
    except (CommandError, KeybrokerError):
        return []  # the page's other answers say what is wrong


def _matching(items: list[Any], query: str) -> list[Any]:
    words = query.casefold().split()
    return [one for one in items if all(word in _text(one) for word in words)]


def _text(one: Mapping[str, Any]) -> str:
    return " ".join((one["name"], one["principal"], *one["grants"])).casefold()


def _sorted(items: list[Any], order: str) -> list[Any]:
    if order == "name":
        return sorted(items, key=lambda one: (one["name"].casefold(), one["principal"]))
    return sorted(items, key=lambda one: (-one[order], one["principal"]))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1
