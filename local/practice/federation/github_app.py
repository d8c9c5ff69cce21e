"""GitHub's endpoints for the tokens of an App's installation, as strict as the real ones.

Source: GitHub's REST reference for Apps, and PyGithub 2.10's `GithubIntegration`, with which they are checked.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from local.practice.federation.endpoint import Fault, RefusedError, TokenEndpoint, life
from local.practice.federation.minted import opaque
from local.practice.federation.trust import DeniedError, Rules, TrustedIssuer, number

PATH = "/app/installations/{installation}/access_tokens"
REVOCATION_PATH = "/installation/token"
_MAX_BODY = 64 * 1024  # bytes
_LIFE = 3600  # seconds
_LONGEST_JWT = 600  # seconds from now to the JWT's end
_LEVELS = ("read", "write", "admin")
_TEXTS = {
    "jwt_too_long": "'Expiration time' claim ('exp') is too far in the future",
    "lifetime_too_long": "'Expiration time' claim ('exp') is too far in the future",
    "expired": "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
    "not_yet_valid": "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
    "match_issuer": "Integration not found",
}


@dataclass(slots=True)
class Installation:
    """An installation of an App: what it may do, and in which repositories, by their IDs."""

    id: int = 55555
    permissions: Mapping[str, str] = field(default_factory=lambda: {"contents": "write", "metadata": "read"})
    repositories: Mapping[str, int] = field(default_factory=lambda: {"app": 17, "docs": 18})


class GitHubAppEndpoint(TokenEndpoint):
    """The endpoints. issuer: the App's client ID or ID with its one key, which its JWT need not name."""

    def __init__(
        self, issuer: TrustedIssuer, installation: Installation, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(issuer, clock)
        self.installation = installation

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Make a token of the installation for the App whose JWT the request has."""
        if not request.headers.get("User-Agent"):
            raise RefusedError("user_agent", "Request forbidden by administrative rules: it has no User-Agent.", 403)
        claims = await self.verified(_bearer(request), Rules(("RS256",), longest=2 * _LONGEST_JWT, needs_kid=False))
        if number(claims, "exp") > self.clock() + _LONGEST_JWT:
            raise DeniedError("jwt_too_long")
        if request.match_info["installation"] != str(self.installation.id):
            raise RefusedError("installation", "Not Found", 404)
        body = await _body(request)
        permissions, chosen = self._permissions(body), self._repositories(body)
        expires = self.clock() + life(fault, _LIFE)
        made = self.minted.mint(opaque("ghs_"), str(self.installation.id), expires, json.dumps(permissions))
        answer: dict[str, object] = {
            "token": made.value,
            "expires_at": datetime.fromtimestamp(int(expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": permissions,
            "repository_selection": "all" if chosen is None else "selected",
        }
        if chosen is not None:
            answer["repositories"] = [{"id": self.installation.repositories[name], "name": name} for name in chosen]
        return web.json_response(answer, status=201, headers=_request_id())

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke the token with which the request is made."""
        try:
            token = _bearer(request)
        except DeniedError:
            token = ""
        if not self.minted.accepts(token, self.clock()):
            return _error(401, "Bad credentials")
        self.minted.revoke(token)
        return web.Response(status=204)

    def denied(self, reason: str) -> web.Response:
        """Return the error for a JWT that is not accepted."""
        return _error(401, _TEXTS.get(reason, "A JSON web token could not be decoded"))

    def refused(self, error: RefusedError) -> web.Response:
        """Return an error of GitHub's API."""
        return _error(error.status, error.text)

    def _permissions(self, body: Mapping[str, object]) -> dict[str, str]:
        asked, had = body.get("permissions", self.installation.permissions), self.installation.permissions
        if not isinstance(asked, Mapping):
            raise RefusedError("permissions", "Invalid request.", 422)
        for name, level in asked.items():
            if level not in _LEVELS or name not in had or _LEVELS.index(level) > _LEVELS.index(had[name]):
                message = "The permissions requested are not granted to this installation."
                raise RefusedError("permissions", message, 422)
        return {str(name): str(level) for name, level in asked.items()}

    def _repositories(self, body: Mapping[str, object]) -> list[str] | None:
        """Return the names of those that were asked for, None if none was."""
        there = self.installation.repositories
        names, ids = body.get("repositories"), body.get("repository_ids")
        if names is None and ids is None:
            return None
        if not all(one is None or isinstance(one, list) for one in (names, ids)):
            raise RefusedError("repositories", "Invalid request.", 422)
        asked_names, asked_ids = names or [], ids or []
        assert isinstance(asked_names, list)  # noqa: S101  checked above
        assert isinstance(asked_ids, list)  # noqa: S101  as that
        if set(asked_names) - there.keys() or set(asked_ids) - set(there.values()):
            message = (
                "There is at least one repository that does not exist or is not accessible to the parent installation."
            )
            raise RefusedError("repositories", message, 422)
        return [name for name in there if name in asked_names or there[name] in asked_ids]


def add_routes(app: web.Application, endpoint: GitHubAppEndpoint) -> None:
    """Add both endpoints' routes to a practice provider's."""
    app.router.add_post(PATH, endpoint.handle)
    app.router.add_delete(REVOCATION_PATH, endpoint.revoke)


def _bearer(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "token") or not value:
        raise DeniedError("malformed")
    return value


async def _body(request: web.Request) -> Mapping[str, object]:
    """Return what is asked for; a request without a body asks for everything."""
    raw = await request.read()
    if len(raw) > _MAX_BODY:
        raise RefusedError("body_too_large", "Payload too large.", 413)
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError("malformed_body", "Problems parsing JSON")
    return body


def _error(status: int, message: str) -> web.Response:
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return web.json_response(body, status=status, headers=_request_id())


def _request_id() -> dict[str, str]:
    return {"x-github-request-id": f"{secrets.token_hex(2).upper()}:{secrets.token_hex(12).upper()}"}
