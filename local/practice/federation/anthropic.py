"""Anthropic's token endpoint for workload identity federation, as strict as the real one.

Source: its documentation of workload identity federation, and anthropic 2.14's `lib/credentials`, with which it is checked.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from local.practice.federation.endpoint import JWT_BEARER, Fault, RefusedError, TokenEndpoint, life, read_json, text
from local.practice.federation.minted import opaque
from local.practice.federation.trust import ELLIPTIC, RSA, Claims, DeniedError, Rules, TrustedIssuer, number

PATH = "/v1/oauth/token"
AUDIENCE = "https://api.anthropic.com"
_MAX_ASSERTION, _MAX_BODY = 16 * 1024, 32 * 1024  # bytes
_SKEW = 30  # seconds
_SHORTEST = 60  # seconds that a token lives
_IDS = {
    "federation_rule_id": re.compile(r"fdrl_[A-Za-z0-9]+"),
    "organization_id": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "service_account_id": re.compile(r"svac_[A-Za-z0-9]+"),
    "workspace_id": re.compile(r"wrkspc_[A-Za-z0-9]+|default"),
}
_MEMBERS = {"grant_type", "assertion", *_IDS}


@dataclass(slots=True)
class Rule:
    """A federation rule. workspaces: that it covers. life: `token_lifetime_seconds`. subject: exactly that."""

    subject: str
    id: str = "fdrl_practice"
    organization: str = "11111111-2222-4333-8444-555555555555"
    service_account: str = "svac_practice"
    workspaces: tuple[str, ...] = ("wrkspc_practice",)
    audience: str = AUDIENCE
    life: int = 3600
    is_archived: bool = False


class AnthropicEndpoint(TokenEndpoint):
    """The endpoint, for one issuer and one rule. checks_jti: whether an assertion's `jti` is spent by its first use."""

    def __init__(self, issuer: TrustedIssuer, rule: Rule, clock: Callable[[], float] = time.time) -> None:
        super().__init__(issuer, clock)
        self.rule, self.checks_jti = rule, True
        self._spent: set[str] = set()

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Exchange an assertion."""
        body = await read_json(request, _MAX_BODY)
        assertion = _checked(body)
        rule = self.rule
        named = (body["federation_rule_id"], body["organization_id"])
        if rule.is_archived or named != (rule.id, rule.organization):
            raise DeniedError("rule_not_found")
        algorithms = ELLIPTIC + RSA
        claims = await self.verified(assertion, Rules(algorithms, (rule.audience,), rule.subject, skew=_SKEW))
        self._spend(claims)
        if body["service_account_id"] != rule.service_account:
            raise DeniedError("match_service_account")
        self._check_workspace(body.get("workspace_id"))
        left = number(claims, "exp") - self.clock()
        seconds = life(fault, max(_SHORTEST, min(rule.life, 2 * left)))
        expires = self.clock() + seconds
        made = self.minted.mint(opaque("sk-ant-oat01-"), rule.service_account, expires, "workspace:inference")
        answer = {
            "access_token": made.value,
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": made.scope,
        }
        return web.json_response(answer, headers={"request-id": _request_id()})

    def denied(self, reason: str) -> web.Response:
        """Return the one error that there is for every denial: it never says why."""
        del reason
        return _error(401, "authentication_error", "Authentication failed")

    def refused(self, error: RefusedError) -> web.Response:
        """Return an error that says what is wrong with the request."""
        kinds = {413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}
        kind = kinds.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
        return _error(error.status, kind, error.text)

    def _spend(self, claims: Claims) -> None:
        jti = claims.get("jti")
        if not self.checks_jti or jti is None:
            return
        if not isinstance(jti, str) or jti in self._spent:
            raise DeniedError("jti_reused")
        self._spent.add(jti)

    def _check_workspace(self, workspace: object) -> None:
        if workspace is None and len(self.rule.workspaces) > 1:
            raise DeniedError("workspace_id_required")
        if workspace is not None and workspace not in self.rule.workspaces:
            raise DeniedError("match_workspace")


def add_routes(app: web.Application, endpoint: AnthropicEndpoint) -> None:
    """Add the endpoint's route to a practice provider's."""
    app.router.add_post(PATH, endpoint.handle)


def _checked(body: Mapping[str, object]) -> str:
    """Return the assertion of a body with every member in its form; raises RefusedError."""
    if unknown := body.keys() - _MEMBERS:
        raise RefusedError("field_unknown", f"{min(unknown)}: Extra inputs are not permitted")
    if text(body, "grant_type") != JWT_BEARER:
        raise RefusedError("grant_type", "grant_type: unsupported")
    assertion = text(body, "assertion")
    if len(assertion) > _MAX_ASSERTION:
        raise RefusedError("assertion_too_large", "assertion: too long")
    for name, form in _IDS.items():
        if name == "workspace_id" and name not in body:
            continue
        if not form.fullmatch(text(body, name)):
            raise RefusedError("malformed_id", f"{name}: invalid")
    return assertion


def _error(status: int, kind: str, message: str) -> web.Response:
    request_id = _request_id()
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    return web.json_response(body, status=status, headers={"request-id": request_id})


def _request_id() -> str:
    return f"req_{secrets.token_hex(12)}"
