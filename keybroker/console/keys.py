"""*Keys*: how old each is, what replaces it, and whether it is frozen."""

from __future__ import annotations

from typing import Final

from keybroker.cli.admin_client import segment
from keybroker.console.console import Console
from keybroker.console.server import Page, Request

ACTIONS: Final = {"rotate": "rotation", "rollback": "rollback"}


def show(console: Console, _request: Request) -> Page:
    """Show the keys."""
    keys, frozen = console.api.get_all(
        ("/admin/keys", {}, ("items",)), ("/admin/revocations", {"scope": "key", "in_force": "true", "limit": 200})
    )
    stopped = {one["target"]: one for one in (frozen.data or {}).get("items", [])}
    return console.page(
        "keys.html", "Keys", (keys, frozen), keys=keys.data["items"] if keys.data else None, frozen=stopped
    )


def ask(console: Console, request: Request) -> Page:
    """Show what a rotation or a rollback would do, and ask."""
    name, action = request.query.get("name", ""), request.query.get("action", "")
    if action not in ACTIONS:
        return console.page("not_found.html", "Not found", status=404)
    would, problem = console.api.act(action, ("POST", _path(name, action)), _body(action), dry_run=True)
    return console.page(
        "key_action.html", action.capitalize(), problems=(problem,), name=name, action=action, would=would, done=None
    )


def act(console: Console, request: Request) -> Page:
    """Do it, and show how far it has come."""
    name, action = request.form.get("name", ""), request.form.get("action", "")
    if action not in ACTIONS:
        return console.page("not_found.html", "Not found", status=404)
    done, problem = console.api.act(action, ("POST", _path(name, action)), _body(action))
    status = 200 if done else 502
    return console.page(
        "key_action.html",
        action.capitalize(),
        problems=(problem,),
        status=status,
        name=name,
        action=action,
        would=None,
        done=done,
    )


def _path(name: str, action: str) -> str:
    return f"/admin/keys/{segment(name)}/{ACTIONS[action]}"


def _body(action: str) -> dict[str, object] | None:
    return {} if action == "rotate" else None
