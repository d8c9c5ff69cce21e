"""OpenAI's administration API as far as keys are replaced by it, as strict as the real one.

Source: openai-python 3.57's types (`admin.organization.projects`), with which the tests call it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from local.practice.key_account import Json, KeyAccount, MadeKey, unknown

PROJECT = "proj_practice"
SERVICE_ACCOUNT = "svcacct_practice"
_PROJECTS = "/v1/organization/projects/{project}"
_KEY = "organization.project.api_key"
_MOST = 100

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, account: KeyAccount) -> None:
    """Add the API's routes to the practice provider's."""
    routes = _Routes(account)
    app.router.add_post(f"{_PROJECTS}/service_accounts/{{service_account}}/api_keys", routes.guarded(routes.create))
    app.router.add_get(f"{_PROJECTS}/api_keys", routes.guarded(routes.list))
    app.router.add_post(f"{_PROJECTS}/api_keys/{{key}}", routes.guarded(routes.update))
    app.router.add_delete(f"{_PROJECTS}/api_keys/{{key}}", routes.guarded(routes.delete))


class _Routes:
    def __init__(self, account: KeyAccount) -> None:
        self._account = account

    def guarded(self, handler: _Handler) -> _Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            if not self._account.is_managed_by(request):
                text = "Incorrect API key provided: an admin API key is required."
                return _error(401, text, "invalid_api_key")
            if request.match_info["project"] != PROJECT:
                return _error(404, "No such project.", "project_not_found")
            return await handler(request)

        return guard

    async def create(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if request.match_info["service_account"] != SERVICE_ACCOUNT:
            return _error(404, "No such service account.")
        if fault := _fault(body, "name", "scopes", "expires_in_seconds"):
            return _error(400, fault)
        life = body.get("expires_in_seconds")
        longest = self._account.faults.longest_life
        if longest is not None and (not isinstance(life, int) or life > longest):
            return _error(400, "The organization's policy requires keys to expire.", "api_key_expiry_policy")
        return await self._account.faulty("create", _error, lambda: web.json_response(self._made(body)))

    def _made(self, body: Mapping[str, object]) -> Json:
        life = body.get("expires_in_seconds")
        name = str(body.get("name") or "Secret key")
        made = self._account.make(name, "sk-svcacct-", id_prefix="key_", life=life if isinstance(life, int) else None)
        return {
            "id": made.id,
            "object": "organization.project.service_account.api_key",
            "name": made.name,
            "value": made.value,
            "created_at": made.created,
            "expires_at": made.expires,
        }

    async def list(self, request: web.Request) -> web.Response:
        if extra := request.query.keys() - {"limit", "after", "owner_project_access"}:
            return _error(400, f"Unknown parameter: {min(extra)}")
        limit = request.query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST:
            return _error(400, "limit must be from 1 to 100")
        keys = self._account.listed()
        after = request.query.get("after")
        if after is not None:
            found = [index for index, one in enumerate(keys) if one.id == after]
            if not found:
                return _error(400, "No such cursor.")
            keys = keys[found[0] + 1 :]
        page, more = keys[: int(limit)], len(keys) > int(limit)
        answer: Json = {
            "object": "list",
            "data": [_shown(one) for one in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": more,
        }
        return await self._account.faulty("list", _error, lambda: web.json_response(answer))

    async def update(self, request: web.Request) -> web.Response:
        body, key = await _body(request), self._account.keys.get(request.match_info["key"])
        if fault := _fault(body, "scopes", "expires_in_seconds") or ("" if body else "Nothing to update."):
            return _error(400, fault)
        if key is None or (key.expires is not None and key.expires <= self._account.clock()):
            return _error(404, "No such API key.")

        def act() -> web.Response:
            life = body.get("expires_in_seconds")
            if isinstance(life, int):
                key.expires = int(self._account.clock()) + life
            return web.json_response(_shown(key))

        return await self._account.faulty("update", _error, act)

    async def delete(self, request: web.Request) -> web.Response:
        key_id = request.match_info["key"]
        if key_id not in self._account.keys:
            return _error(404, "No such API key.")
        if self._account.faults.keeps_service_accounts_keys:
            return _error(400, "This key belongs to a service account.")

        def act() -> web.Response:
            del self._account.keys[key_id]
            return web.json_response({"id": key_id, "object": f"{_KEY}.deleted", "deleted": True})

        return await self._account.faulty("delete", _error, act)


def _shown(key: MadeKey) -> Json:
    owner = {"id": SERVICE_ACCOUNT, "name": "practice", "role": "member", "created_at": 0}
    return {
        "id": key.id,
        "object": _KEY,
        "name": key.name,
        "redacted_value": f"{key.value[:8]}********{key.value[-4:]}",
        "created_at": key.created,
        "expires_at": key.expires,
        "last_used_at": None,
        "owner_project_access": "active",
        "owner": {"type": "service_account", "service_account": owner},
    }


def _fault(body: Json | None, *known: str) -> str:
    if body is None:
        return "We could not parse the JSON body of your request."
    if extra := unknown(body, *known):
        return f"Unknown parameter: '{extra[0]}'."
    life, scopes = body.get("expires_in_seconds"), body.get("scopes")
    if life is not None and (not isinstance(life, int) or isinstance(life, bool) or life < 1):
        return "Invalid 'expires_in_seconds'."
    if scopes is not None and not (isinstance(scopes, list) and all(isinstance(one, str) for one in scopes)):
        return "Invalid 'scopes'."
    if not isinstance(body.get("name", ""), str):
        return "Invalid 'name'."
    return ""


async def _body(request: web.Request) -> Json:
    try:
        found = json.loads(await request.read())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="We could not parse the JSON body of your request.")
    return found


def _error(status: int, message: str, code: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
