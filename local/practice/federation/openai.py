"""OpenAI's token endpoint for workload identity federation (auth.openai.com), as strict as the real one.

Source: its documentation of workload identity federation, and openai 3.57's `auth`, with which it is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from local.practice.federation.endpoint import (
    TOKEN_EXCHANGE,
    TYPE_ACCESS,
    TYPE_ID,
    TYPE_JWT,
    Fault,
    RefusedError,
    TokenEndpoint,
    life,
    read_json,
    text,
)
from local.practice.federation.minted import jwt_like
from local.practice.federation.trust import ELLIPTIC, RSA, Rules, TrustedIssuer, number

PATH = "/oauth/token"
_MAX_BODY = 32 * 1024  # bytes
_LONGEST = 3600  # seconds that a token lives
_MEMBERS = {
    "grant_type",
    "subject_token",
    "subject_token_type",
    "identity_provider_id",
    "service_account_id",
    "client_id",
}


@dataclass(slots=True)
class Mapping:
    """A provider and its one enabled mapping to a service account. scope: None if the mapping restricts nothing."""

    subject: str
    audience: str = "https://api.openai.com/v1"
    identity_provider: str = "idp_practice"
    service_account: str = "svc_acct_practice"
    scope: str | None = None
    is_enabled: bool = True


class OpenAiEndpoint(TokenEndpoint):
    """The endpoint, for one issuer and one mapping."""

    def __init__(self, issuer: TrustedIssuer, mapping: Mapping, clock: Callable[[], float] = time.time) -> None:
        super().__init__(issuer, clock)
        self.mapping = mapping

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Exchange a subject token."""
        body = await read_json(request, _MAX_BODY)
        if unknown := body.keys() - _MEMBERS:
            raise RefusedError("field_unknown", f"Unknown parameter: {min(unknown)}")
        if text(body, "grant_type") != TOKEN_EXCHANGE:
            raise RefusedError("grant_type", "The grant type is not supported.", error="unsupported_grant_type")
        if text(body, "subject_token_type") not in (TYPE_JWT, TYPE_ID):
            raise RefusedError("token_type", "The subject token's type is not supported.")
        token = text(body, "subject_token")
        mapping = self.mapping
        if text(body, "identity_provider_id") != mapping.identity_provider:
            raise RefusedError("provider_not_found", "The identity provider was not found.", error="invalid_grant")
        claims = await self.verified(token, Rules(ELLIPTIC + RSA, (mapping.audience,)))
        is_mapped = claims.get("sub") == mapping.subject and mapping.is_enabled
        if text(body, "service_account_id") != mapping.service_account or not is_mapped:
            raise RefusedError("match_mapping", "No mapping matches the subject token.", error="invalid_grant")
        now = self.clock()
        seconds = life(fault, min(_LONGEST, number(claims, "exp") - now))
        value = jwt_like({"iss": "https://auth.openai.com", "sub": mapping.service_account, "exp": int(now) + seconds})
        self.minted.mint(value, mapping.service_account, now + seconds, mapping.scope or "")
        answer = {
            "access_token": value,
            "issued_token_type": TYPE_ACCESS,
            "token_type": "Bearer",
            "expires_in": seconds,
            "expires_at": int(now) + seconds,
        }
        scope = {} if mapping.scope is None else {"scope": mapping.scope}
        return web.json_response({**answer, **scope})

    def denied(self, reason: str) -> web.Response:
        """Return the error for a subject token that is not accepted."""
        del reason
        body = {"error": "invalid_subject_token", "error_description": "The subject token could not be verified."}
        return web.json_response(body, status=401)

    def refused(self, error: RefusedError) -> web.Response:
        """Return an OAuth error."""
        code = error.fields.get("error") or ("invalid_request" if error.status < 500 else "server_error")
        return web.json_response({"error": code, "error_description": error.text}, status=error.status)


def add_routes(app: web.Application, endpoint: OpenAiEndpoint) -> None:
    """Add the endpoint's route to a practice provider's."""
    app.router.add_post(PATH, endpoint.handle)
