"""OpenRouter's token endpoint for workload identities, as strict as the real one.

Source: its documentation of workload identity, and openrouter 1.3's `create_oauth_token`, with which it is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from local.practice.federation.endpoint import (
    TOKEN_EXCHANGE,
    TYPE_ACCESS,
    TYPE_JWT,
    Fault,
    RefusedError,
    TokenEndpoint,
    life,
    read_form,
    text,
)
from local.practice.federation.minted import jwt_like
from local.practice.federation.trust import DeniedError, Rules, TrustedIssuer, number

PATH = "/api/v1/oauth/token"
ALGORITHMS = ("ES256", "RS256")
_MAX_TOKEN, _MAX_BODY = 16 * 1024, 32 * 1024 - 1  # bytes
_LONGEST = 900  # seconds that a token lives
_MEMBERS = {
    "grant_type",
    "subject_token",
    "subject_token_type",
    "federation_policy_id",
    "requested_token_type",
    "scope",
}


@dataclass(slots=True)
class Policy:
    """A federation policy. api_key: whom a token acts as. scope: what that key opens."""

    subject: str
    audience: str = "https://openrouter.ai"
    id: str = "22222222-3333-4444-8555-666666666666"
    api_key: str = "practice"
    scope: str = "inference"
    is_paused: bool = False


class OpenRouterEndpoint(TokenEndpoint):
    """The endpoint, for one issuer and one policy. Its issuers are read by URL only: none is uploaded."""

    def __init__(self, issuer: TrustedIssuer, policy: Policy, clock: Callable[[], float] = time.time) -> None:
        super().__init__(issuer, clock)
        self.policy = policy
        self.is_key_disabled = False

    def disable_key(self) -> None:
        """Disable the API key: what was minted for it is refused at once, and nothing more is minted."""
        self.is_key_disabled = True
        self.minted.revoke_account(self.policy.api_key)

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Exchange a subject token."""
        body = await read_form(request, _MAX_BODY)
        token, policy = text(body, "subject_token"), self.policy
        if len(token) > _MAX_TOKEN:
            raise RefusedError("token_too_large", "The subject token is too large.", 413)
        if text(body, "grant_type") != TOKEN_EXCHANGE:
            raise RefusedError("grant_type", "The grant type is not supported.", error="unsupported_grant_type")
        is_typed = text(body, "subject_token_type") == TYPE_JWT
        if body.keys() - _MEMBERS or not is_typed or body.get("requested_token_type", TYPE_ACCESS) != TYPE_ACCESS:
            raise RefusedError("token_type", "The request is invalid.")
        if text(body, "federation_policy_id") != policy.id or policy.is_paused or self.is_key_disabled:
            raise DeniedError("policy_not_found")
        claims = await self.verified(token, Rules(ALGORITHMS, (policy.audience,), policy.subject))
        if body.get("scope", policy.scope) != policy.scope:
            raise RefusedError("scope", "The scope is not the API key's.", error="invalid_scope")
        now = self.clock()
        seconds = life(fault, min(_LONGEST, number(claims, "exp") - now))
        value = jwt_like({"iss": "https://openrouter.ai", "sub": policy.api_key, "exp": int(now) + seconds})
        self.minted.mint(value, policy.api_key, now + seconds, policy.scope)
        answer = {
            "access_token": value,
            "issued_token_type": TYPE_ACCESS,
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": policy.scope,
        }
        return web.json_response(answer)

    def denied(self, reason: str) -> web.Response:
        """Return the one error that there is for every denial."""
        del reason
        body = {"error": "invalid_grant", "error_description": "The subject token was not accepted."}
        return web.json_response(body, status=400)

    def refused(self, error: RefusedError) -> web.Response:
        """Return an OAuth error."""
        codes = {503: "temporarily_unavailable"}
        code = codes.get(error.status, "invalid_request" if error.status < 500 else "server_error")
        body = {"error": error.fields.get("error", code), "error_description": error.text}
        return web.json_response(body, status=error.status)


def add_routes(app: web.Application, endpoint: OpenRouterEndpoint) -> None:
    """Add the endpoint's route to a practice provider's."""
    app.router.add_post(PATH, endpoint.handle)
