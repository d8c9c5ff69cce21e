"""*Keys*: how old each is, what replaces it, and whether it is frozen."""

from __future__ import annotations

from typing import Any, Final

from keybroker.cli.admin_client import segment
from keybroker.console.api import Known
from keybroker.console.console import Console
from keybroker.console.rendering import link
from keybroker.console.server import Page, Request

ACTIONS: Final = {"rotate": "rotation", "rollback": "rollback"}
TITLES: Final = {"rotate": "Rotate", "rollback": "Roll back"}


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
    """Show what a rotation or a rollback of the version in force would do, and ask."""
    name, action = request.query.get("name", ""), request.query.get("action", "")
    if action not in ACTIONS:
        return console.page("not_found.html", "Not found", status=404)
    known, key = _found(console, name)
    version = (key or {}).get("version") or ""
    query = {"dry_run": True, "version": version or None}
    would, problem = console.api.act(action, _route(name, action), _body(action), query)
    return console.page(
        "key_action.html",
        TITLES[action],
        (known,),
        problems=(problem,),
        name=name,
        action=action,
        would=would,
        version=version,
    )


def act(console: Console, request: Request) -> Page:
    """Do it to the version that was shown, and lead to what has come of it."""
    name, action, version = (request.form.get(field, "") for field in ("name", "action", "version"))
    if action not in ACTIONS:
        return console.page("not_found.html", "Not found", status=404)
    # SECURITY: a rollback that is sent again undoes itself, but not of the version that it names
    # (test_a_rollback_that_is_sent_again_undoes_nothing).
    done, problem = console.api.act(action, _route(name, action), _body(action), {"version": version or None})
    if done is not None:
        return Page(status=303, location=link("/keys/done", name=name, action=action))
    return console.page(
        "key_action.html",
        TITLES[action],
        problems=(problem,),
        status=502,
        name=name,
        action=action,
        would=None,
        version=version,
    )


def done(console: Console, request: Request) -> Page:
    """Show how far a rotation has come, or which version is in force after a rollback."""
    name, action = request.query.get("name", ""), request.query.get("action", "")
    known, key = _found(console, name)
    if action not in ACTIONS or (key is None and not known.problem):
        return console.page("not_found.html", "Not found", status=404)
    return console.page("key_done.html", TITLES[action], (known,), name=name, action=action, key=key)


def _found(console: Console, name: str) -> tuple[Known, dict[str, Any] | None]:
    known = console.api.get("/admin/keys")
    return known, next((one for one in (known.data or {}).get("items", []) if one["name"] == name), None)


def _route(name: str, action: str) -> tuple[str, str]:
    return "POST", f"/admin/keys/{segment(name)}/{ACTIONS[action]}"


def _body(action: str) -> dict[str, object] | None:
    return {} if action == "rotate" else None
