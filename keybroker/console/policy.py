"""*Policy*: the file in force, who applied it, and what another one would change."""

from __future__ import annotations

import difflib

from keybroker.console.console import Console
from keybroker.console.server import Page, Request


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
        replay=replay,
        diff=list(diff) if text and current.data else [],
    )
