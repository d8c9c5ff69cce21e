"""*Principals*: everybody who was active today or yesterday, to be searched, sorted and paged here; and one of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keybroker.cli import limit_table
from keybroker.cli.admin_client import segment
from keybroker.cli.command_error import CommandError
from keybroker.console import cut_off, in_force, plots
from keybroker.console.api import Api, Known
from keybroker.console.console import Console
from keybroker.console.proof import PRINCIPAL, proof_of
from keybroker.console.server import Page, Request
from keybroker.errors import KeybrokerError

PAGE: Final = 50
LISTED_SECONDS: Final = 15
_TOO_OLD_SECONDS: Final = 600
"""Beyond this the new list is waited for."""
_AGAIN_SECONDS: Final = 3
"""Between attempts while it cannot be had."""
_API_PAGE: Final = 200
_MOST_PAGES: Final = 100
_EVENTS: Final = 20
_ORDERS: Final = ("calls", "refused", "tokens", "last_seen", "name")


@dataclass
class Listing:
    """All principals, read anew when what is known is some seconds old; meanwhile that is shown, with its age."""

    api: Api
    _known: Known = field(default_factory=lambda: Known(None, 0))
    _is_cut: bool = False
    _tried: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Thread | None = None

    def read(self, now: float) -> tuple[Known, bool]:
        """Return them, and whether there are more than are read."""
        with self._lock:
            known, reading = self._known, self._reading is not None and self._reading.is_alive()
            if known.data is None or (not reading and not known.problem and now - known.at >= _TOO_OLD_SECONDS):
                self._read()
            elif not reading and now - max(known.at, self._tried) >= (
                _AGAIN_SECONDS if known.problem else LISTED_SECONDS
            ):
                self._tried = now
                self._reading = threading.Thread(target=self._read, daemon=True)
                self._reading.start()
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
    # What is cut off is asked for each time: a list that is some seconds old would offer to revoke it again.
    newest = console.api.get(*in_force.NEWEST)
    known, is_cut = listing.read(console.clock())
    query, order = request.query.get("q", "")[:300], request.query.get("sort", "")
    order = order if order in _ORDERS else "calls"
    found = _sorted(_matching(known.data or [], query), order)
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, _whole(request.query.get("page", "1"))), pages)
    return console.page(
        "principals_found.html" if request.is_part else "principals.html",
        "Principals",
        (known, newest),
        items=None if known.data is None else found[(number - 1) * PAGE : number * PAGE],
        in_force=in_force.read(console.api, newest),
        count=len(found),
        every=len(known.data or []),
        is_cut=is_cut,
        listed_at=None if known.problem or console.clock() - known.at < LISTED_SECONDS else known.at,
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
    found, events, issued, minutes, *revoked = console.api.get_all(
        (f"/admin/principals/{segment(sub)}", {}, PRINCIPAL),
        ("/admin/audit", {"principal": sub, "limit": _EVENTS}),
        ("/admin/audit", {"principal": sub, "kind": "token.issued", "limit": 1}),
        ("/admin/usage", {"series": "minute", "principal": sub}),
        in_force.NEWEST,
        ("/admin/revocations", {"in_force": "false", "limit": _API_PAGE}),
        ("/admin/revocations", {"scope": "token", "in_force": "true", "limit": _API_PAGE}),
    )
    unseen = found.problem is not None and found.problem.is_unseen
    trail = events.data["items"] if events.data else None
    return console.page(
        "principal.html",
        (found.data or {}).get("name") or "Principal",
        (found, events, issued, minutes, *revoked),
        status=404 if unseen else 200,
        sub=sub,
        found=None if unseen else found.data,
        unseen=unseen,
        # Who did not answer just now is not waited for again.
        limits=None if found.problem else _limits(console.api, found.data, sub, int(console.clock())),
        trail=trail,
        issued=next(iter((issued.data or {}).get("items", [])), None),
        series=plots.of_calls("Calls by minute, the last hour", minutes.data),
        **_cut_off(console, found, *revoked),
    )


def _cut_off(console: Console, found: Known, newest: Known, ended: Known, of_tokens: Known) -> dict[str, Any]:
    """Return what is shown of a principal's revocations, and of those that it is touched by."""
    stopped = in_force.read(console.api, newest)
    console.remember(stopped.items)
    if found.data is None:
        return {"own": [], "wider": [], "is_stopped": False, "proof": None, "dead": set()}
    own = cut_off.own(found.data, console.revocations, console.clock())
    wider, is_stopped = cut_off.wider(found.data, stopped.wide())
    lifted, tokens = ((one.data or {"items": []})["items"] for one in (ended, of_tokens))
    return {
        "own": own,
        "wider": wider,
        "is_stopped": is_stopped,
        "proof": proof_of(console, own[0], found) if own else None,
        "dead": cut_off.dead(found.data, [*own, *wider, *tokens], lifted),
    }


def _limits(api: Api, found: Mapping[str, Any] | None, sub: str, now: int) -> list[dict[str, Any]] | None:
    """Return how its limits stand, None where that is not known."""
    if found is None:
        return None
    grants = sorted({one["grant"] for one in found["today"]["grants"] if one["grant"]})
    try:
        return limit_table.read(api.client, sub, grants, now)
    except (CommandError, KeybrokerError, LookupError, TypeError):
        return None  # the page's other answers say what is wrong


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
