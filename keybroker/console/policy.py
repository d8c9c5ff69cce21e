"""*Policy*: the file in force, who applied it, and what another one would change."""

from __future__ import annotations

import difflib
from typing import Any, Final

from keybroker.cli.admin_client import segment
from keybroker.console.console import Console
from keybroker.console.server import Page, Request

NAMED: Final = 20
"""Of those who would be cut off, how many are listed, with their names."""


def show(console: Console, request: Request) -> Page:
    """Show the policy; after a form was sent, with what the one in it would change, and whom that cuts off."""
    current, history = console.api.get_all(
        ("/admin/policy", {}, ("version", "text", "author", "at")), ("/admin/policy/history", {"limit": 10})
    )
    text = request.form.get("text", "")
    plan, problem = console.api.act("plan", ("POST", "/admin/policy/plan"), {"text": text}) if text else (None, None)
    replay, failed = (
        console.api.act("replay", ("POST", "/admin/policy/replay"), {"text": text})
        if plan is not None
        else (None, None)
    )
    before = (current.data or {}).get("text", "")
    diff = difflib.unified_diff(before.splitlines(), text.splitlines(), "in force", "dropped here", lineterm="")
    return console.page(
        "policy.html",
        "Policy",
        (current, history),
        problems=(problem, failed),
        policy=current.data,
        history=history.data["items"] if history.data else None,
        text=text,
        plan=plan,
        names=_names(console, replay),
        replay=replay,
        diff=list(diff) if text and current.data else [],
    )


def _names(console: Console, replay: dict[str, Any] | None) -> dict[str, str]:
    """Return the names of those whom the other policy would cut off, by id, as far as they are known."""
    subs = [one["principal"] for one in (replay or {}).get("newly_refused", ())[:NAMED]]
    found = console.api.get_all(*((f"/admin/principals/{segment(sub)}", {}, ("name",)) for sub in subs))
    return {sub: (one.data or {}).get("name") or "" for sub, one in zip(subs, found, strict=True)}
