"""OpenRouter's API for provisioning keys as far as keys are replaced by it, as strict as the real one.

Source: https://openrouter.ai/docs/features/provisioning-api-keys, and its SDK 1.3's types.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from local.practice.key_account import Json, KeyAccount, MadeKey, unknown

_KEYS = "/api/v1/keys"
_PAGE = 100
_MEMBERS = ("name", "limit", "limit_reset", "expires_at", "include_byok_in_limit", "workspace_id", "creator_user_id")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, account: KeyAccount) -> None:
    """Add the API's routes to the practice provider's."""
    routes = _Routes(account)
    app.router.add_get(_KEYS, routes.guarded(routes.list))
    app.router.add_post(_KEYS, routes.guarded(routes.create))
    app.router.add_delete(f"{_KEYS}/{{key}}", routes.guarded(routes.delete))


class _Routes:
    def __init__(self, account: KeyAccount) -> None:
        self._account = account

    def guarded(self, handler: _Handler) -> _Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            if not self._account.is_managed_by(request):
                return _error(401, "Invalid management key")
            return await handler(request)

        return guard

    async def create(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
        except ValueError:
            return _error(400, "Invalid JSON")
        if not isinstance(body, dict) or not isinstance(body.get("name"), str) or unknown(body, *_MEMBERS):
            return _error(400, "Invalid body: name is required, and there must be no unknown member")
        limit = body.get("limit")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0):
            return _error(400, "Invalid limit")

        def act() -> web.Response:
            made = self._account.make(body["name"], "sk-or-v1-")
            return web.json_response({"data": _shown(made, limit), "key": made.value}, status=201)

        return await self._account.faulty("create", _error, act)

    async def list(self, request: web.Request) -> web.Response:
        offset = request.query.get("offset", "0")
        if not offset.isdecimal() or request.query.keys() - {"offset", "include_disabled", "workspace_id"}:
            return _error(400, "Invalid query")
        wanted = [one for one in self._account.listed() if not one.disabled or "include_disabled" in request.query]
        page = wanted[int(offset) : int(offset) + _PAGE]
        answer: Json = {"data": [_shown(one, None) for one in page]}
        return await self._account.faulty("list", _error, lambda: web.json_response(answer))

    async def delete(self, request: web.Request) -> web.Response:
        key_id = request.match_info["key"]
        if key_id not in self._account.keys:
            return _error(404, "API key not found")

        def act() -> web.Response:
            del self._account.keys[key_id]
            return web.json_response({"deleted": True})

        return await self._account.faulty("delete", _error, act)


def _shown(key: MadeKey, limit: object) -> Json:
    created = datetime.fromtimestamp(key.created, UTC).isoformat()
    return {
        "hash": key.id,
        "name": key.name,
        "label": f"{key.value[:12]}...{key.value[-3:]}",
        "disabled": key.disabled,
        "limit": limit,
        "created_at": created,
        "updated_at": None,
        "expires_at": None,
    }


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)
