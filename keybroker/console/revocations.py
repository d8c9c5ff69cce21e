"""Cutting off, and taking it back: what it would do, the confirmation, the acknowledgement."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from keybroker.cli.admin_client import segment
from keybroker.console.api import whole
from keybroker.console.console import Console, Noted, total
from keybroker.console.proof import PRINCIPAL
from keybroker.console.rendering import link
from keybroker.console.server import Page, Request

SCOPES: Final = ("everything", "issuer", "key", "grant", "principal", "token")
REASON: Final = "cut off from the console"
_REASON_LIMIT: Final = 200
_IMPACT: Final = ("principals", "tokens", "calls_last_hour", "complete")
_MADE: Final = ("id", "scope", "target", "reason", "author", "at", "until")


def ask(console: Console, request: Request) -> Page:
    """Show whom a revocation would cut off, and ask."""
    scope, target = request.query.get("scope", ""), request.query.get("id", "")
    if scope not in SCOPES:
        return console.page("not_found.html", "Not found", status=404)
    body = {"scope": scope, "id": target, "reason": REASON, **_unseen(scope)}
    asked = console.api.act("revoke", ("POST", "/admin/revocations"), body, {"dry_run": True})
    impact, problem = whole(_IMPACT, *asked)
    return console.page(
        "revoke.html",
        "Revoke",
        problems=(problem,),
        scope=scope,
        target=target,
        impact=impact,
        reason=REASON,
        # One key for what is shown here: however often it is sent with the same reason, it is one revocation.
        key=secrets.token_urlsafe(24),
        may=problem is None or not problem.is_denied,
    )


def make(console: Console, request: Request) -> Page:
    """Make a revocation, note what is known the moment after, and show the proof."""
    scope, target = request.form.get("scope", ""), request.form.get("id", "")
    reason = request.form.get("reason", "").strip()[:_REASON_LIMIT] or REASON
    if scope not in SCOPES:
        return console.page("not_found.html", "Not found", status=404)
    body = {"scope": scope, "id": target, "reason": reason, **_unseen(scope)}
    began = console.clock()
    headers = {"idempotency-key": _key(request.form.get("key", ""), reason)}
    made, problem = whole(_MADE, *console.api.act("revoke", ("POST", "/admin/revocations"), body, headers=headers))
    if made is None:
        return console.page(
            "revoke.html",
            "Revoke",
            problems=(problem,),
            status=502,
            scope=scope,
            target=target,
            impact=None,
            reason=reason,
            key=request.form.get("key", ""),
            may=problem is None or not problem.is_denied,
        )
    console.remember((made,))
    if scope != "principal":
        return Page(status=303, location=link("/", revoked=made["id"]))
    if made["id"] not in console.noted:
        acknowledged = console.clock()
        found = console.api.get(f"/admin/principals/{segment(target)}", members=PRINCIPAL)
        if found.data is not None and not found.problem:
            calls, refused = total(found.data)
            console.note(made["id"], Noted(acknowledged, acknowledged - began, calls, refused))
    return Page(status=303, location=link("/principal", id=target))


def restore(console: Console, request: Request) -> Page:
    """End a revocation's block; tokens from before it stay invalid."""
    path = f"/admin/revocations/{segment(request.form.get('revocation', ''))}"
    _, problem = console.api.act("restore", ("DELETE", path))
    back = request.form.get("back", "/")
    # SECURITY: to a page of ours, wherever the form says (test_nobody_is_sent_elsewhere).
    own = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
    if problem:
        return console.page("failed.html", "Restore", problems=(problem,), status=502, back=own)
    return Page(status=303, location=own)


def _key(shown: str, reason: str) -> str:
    """Return the idempotency key of a reason: one that was sent with another reason before would be refused for ever."""
    return hashlib.sha256(f"{shown or secrets.token_urlsafe(24)}\n{reason}".encode()).hexdigest()


def _unseen(scope: str) -> dict[str, bool]:
    """Revoke anyone who is shown here, active or not."""
    return {"unseen": True} if scope in ("principal", "token") else {}
