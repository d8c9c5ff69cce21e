"""How each limit of a principal stands: as it is asked of the administration, and as a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from keybroker.cli import usage_tables
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.usage_series import SECONDS
from keybroker.duration import words

HEADINGS: Final = ("limit", "of", "used", "reserved", "left", "resets in")
_COUNTED: Final = ("calls", "tokens")
_UNITS: Final = {"usage": "model tokens", "spend": "usd"}


def row(one: Mapping[str, Any], now: int) -> tuple[object, ...]:
    """Return a limit as under HEADINGS. now: epoch seconds, by the broker's clock."""
    what = one["what"]
    told = [usage_tables.amount(what, one[name]) for name in ("limit", "used", "reserved", "left")]
    if what in _COUNTED:
        told[2] = "-"
    return (f"{_UNITS.get(what, what)}/{one['window']}", *told, words(max(0, one["resets"] - now)))


def read(client: AdminClient, sub: str, grants: Collection[str], now: int) -> list[dict[str, Any]]:
    """Return how each limit stands that these grants have for a principal, as `GET /usage` tells it, with `grant`.

    now: epoch seconds, by the broker's clock.
    """
    limits = [
        {"grant": grant, **limit}
        for grant in grants
        for found in client.get("/admin/policy/grants", {"grant": grant})["items"]
        for limit in found.get("limits", ())
        if not limit["shared"]
    ]
    windows = {limit["window"] for limit in limits}
    uses = {window: _uses(client, sub, window, now) for window in windows}
    return [_standing(one, uses[one["window"]].get(one["grant"], {}), now) for one in limits]


def _uses(client: AdminClient, sub: str, window: str, now: int) -> dict[str, Any]:
    found = client.items("/admin/usage", {"window": window, "at": now, "principal": sub})
    return {one["grant"]: one for one in found}


def _standing(limit: Mapping[str, Any], use: Mapping[str, Any], now: int) -> dict[str, Any]:
    what, length = limit["what"], SECONDS[limit["window"]]
    taken = {"used": use.get(what, 0), "reserved": 0}
    if what not in _COUNTED:
        taken = use.get("budgets", {}).get(what, {"used": 0, "reserved": 0})
    left = max(0, limit["limit"] - taken["used"] - taken["reserved"])
    shown = {name: limit[name] for name in ("grant", "what", "window", "limit")}
    return {**shown, **taken, "left": left, "resets": now - now % length + length}
