"""*Audit*: the events, filtered, paged, and as a file."""

from __future__ import annotations

import json
from typing import Final

from keybroker.cli.command_error import CommandError
from keybroker.console.api import problem
from keybroker.console.console import Console
from keybroker.console.server import Page, Request
from keybroker.errors import KeybrokerError

FILTERS: Final = ("kind", "principal", "grant", "key", "request_id")
_PAGE: Final = 50
_EXPORTED: Final = 5000


def show(console: Console, request: Request) -> Page:
    """Show one page of the events that fit."""
    wanted = _wanted(request)
    found = console.api.get("/admin/audit", {**wanted, "limit": _PAGE, "after": request.query.get("after") or None})
    page = found.data or {"items": None, "next": None}
    return console.page(
        "audit_found.html" if request.is_part else "audit.html",
        "Audit",
        (found,),
        items=page["items"],
        next=page["next"],
        wanted={name: wanted.get(name, "") for name in FILTERS},
        filters=[part for name, value in wanted.items() for part in (f"--{name.replace('_', '-')}", value)],
    )


def export(console: Console, request: Request) -> Page:
    """Answer the newest events that fit as a file, one a line."""
    try:
        found = list(console.api.client.items("/admin/audit", _wanted(request), _EXPORTED))
    except (CommandError, KeybrokerError) as fault:
        return console.page("failed.html", "Audit", problems=(problem(fault),), status=502, back="/audit")
    body = "".join(json.dumps(one) + "\n" for one in found)
    name = {"Content-Disposition": 'attachment; filename="keybroker-audit.jsonl"'}
    return Page(body, headers=name, kind="application/jsonl")


def _wanted(request: Request) -> dict[str, object]:
    return {name: request.query[name].strip() for name in FILTERS if request.query.get(name, "").strip()}
