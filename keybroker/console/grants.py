"""*Grants*: whom the policy admits to which key, who used it last, and what it says of an identity that is pasted."""

from __future__ import annotations

import json
from typing import Any, Final

from keybroker.console import in_force
from keybroker.console.console import Console
from keybroker.console.server import Page, Request

_BUSIEST: Final = 200
_TOKEN_PARTS: Final = 3


def show(console: Console, request: Request) -> Page:
    """Show the grants; after a form was sent, with what the policy says of the identity in it."""
    grants, used, newest = console.api.get_all(
        ("/admin/policy/grants", {}, ("version", "at", "items")),
        ("/admin/usage", {"top": _BUSIEST, "by": "calls", "window": "day"}),
        in_force.NEWEST,
    )
    uses = _uses(console, grants.data, used.data)
    pasted = request.form.get("identity", "").strip()
    explained, problem = _explained(console, pasted) if pasted else (None, "")
    found, failed = explained or (None, None)
    return console.page(
        "grants.html",
        "Grants",
        (grants, used, newest),
        problems=(failed,),
        policy=grants.data,
        in_force=in_force.read(console.api, newest),
        last=_last(uses),
        identity=pasted,
        fault=problem,
        explained=found,
    )


def _uses(console: Console, grants: Any, busiest: Any) -> list[Any]:  # noqa: ANN401  JSON
    """Return the uses of today; grant by grant where there are more principals than one answer has."""
    found: list[Any] = (busiest or {}).get("items", [])
    if grants is None or len(found) < _BUSIEST:
        return found
    wanted = ({"grant": one["name"], "top": _BUSIEST, "by": "calls", "window": "day"} for one in grants["items"])
    answers = console.api.get_all(*(("/admin/usage", query) for query in wanted))
    return [*found, *(use for one in answers for use in (one.data or {}).get("items", []))]


def _explained(console: Console, pasted: str) -> tuple[tuple[Any, Any] | None, str]:
    if pasted.count(".") == _TOKEN_PARTS - 1 and not pasted.startswith("{"):
        body: dict[str, Any] = {"token": pasted}
    else:
        try:
            claims = json.loads(pasted)
        except ValueError:
            return None, "this is neither a token nor a JSON object of claims"
        if not isinstance(claims, dict):
            return None, "claims must be a JSON object"
        body = {"claims": claims}
    return console.api.act("explain", ("POST", "/admin/policy/explain"), body), ""


def _last(uses: list[Any]) -> dict[str, Any]:
    """Return the newest use of each grant."""
    found: dict[str, Any] = {}
    for one in uses:
        if one["grant"] not in found or one["last_seen"] > found[one["grant"]]["last_seen"]:
            found[one["grant"]] = one
    return found
