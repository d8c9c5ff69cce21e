"""Google's Security Token Service, and the impersonation of a service account, as strict as the real ones.

Source: their REST references, and google-auth 2.63's `identity_pool` and `impersonated_credentials`, with which they are checked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

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
    read_form,
    read_json,
    text,
)
from local.practice.federation.minted import MintedTokens, opaque
from local.practice.federation.trust import DeniedError, Rules, TrustedIssuer

STS_PATH = "/v1/token"
IMPERSONATION_PATH = "/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
SCOPE_IAM = "https://www.googleapis.com/auth/iam"
ALGORITHMS = ("ES256", "ES384", "RS256")
_MAX_BODY = 32 * 1024  # bytes
_LONGEST = 3600  # seconds that a token lives
_LONGEST_ASSERTION = 24 * 3600  # seconds
_LONGEST_SUBJECT = 127  # characters
_LIFETIME = re.compile(r"([1-9][0-9]{0,4})s")
_STATUSES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


@dataclass(slots=True)
class Pool:
    """A workload identity pool's provider. service_account: that its subject may impersonate.

    has_condition: whether it accepts no other subject; without a condition the others get a token, which opens nothing.
    """

    subject: str
    provider: str = "projects/1234/locations/global/workloadIdentityPools/practice/providers/broker"
    service_account: str = "practice@practice.iam.gserviceaccount.com"
    has_condition: bool = True

    @property
    def name(self) -> str:
        """The provider's resource name, which is the request's audience."""
        return f"//iam.googleapis.com/{self.provider}"

    @property
    def audiences(self) -> tuple[str, ...]:
        """Which an assertion may have by default: the resource name, with and without its scheme."""
        return f"https:{self.name}", self.name


class StsEndpoint(TokenEndpoint):
    """The Security Token Service, for one issuer and one pool's provider."""

    def __init__(self, issuer: TrustedIssuer, pool: Pool, clock: Callable[[], float] = time.time) -> None:
        super().__init__(issuer, clock)
        self.pool = pool

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Exchange a subject token."""
        if "Authorization" in request.headers:
            raise RefusedError("client_authentication", "No client is expected.", 401, error="invalid_client")
        body = await read_form(request, _MAX_BODY)
        if text(body, "grant_type") != TOKEN_EXCHANGE:
            raise RefusedError("grant_type", "Invalid grant_type.", error="unsupported_grant_type")
        is_typed = text(body, "subject_token_type") in (TYPE_JWT, TYPE_ID)
        if not is_typed or text(body, "requested_token_type") != TYPE_ACCESS:
            raise RefusedError("token_type", "Invalid token type.")
        if text(body, "audience") != self.pool.name:
            raise RefusedError("audience", "Invalid value for audience.", error="invalid_target")
        scope, token = text(body, "scope"), text(body, "subject_token")
        if not set(scope.split()) <= {SCOPE, SCOPE_IAM}:
            raise RefusedError("scope", "Invalid scope.", error="invalid_scope")
        rules = Rules(ALGORITHMS, self.pool.audiences, longest=_LONGEST_ASSERTION)
        claims = await self.verified(token, rules)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
            raise DeniedError("subject_too_long")
        if self.pool.has_condition and subject != self.pool.subject:
            raise DeniedError("attribute_condition")
        seconds, now = life(fault, _LONGEST), self.clock()
        made = self.minted.mint(opaque("ya29.d.practice-"), subject, now + seconds, scope)
        answer = {
            "access_token": made.value,
            "issued_token_type": TYPE_ACCESS,
            "token_type": "Bearer",
            "expires_in": seconds,
        }
        return web.json_response(answer)

    def denied(self, reason: str) -> web.Response:
        """Return the error for a subject token that is not accepted; Google's says why."""
        body = {"error": "invalid_grant", "error_description": f"The subject token was not accepted: {reason}."}
        return web.json_response(body, status=400)

    def refused(self, error: RefusedError) -> web.Response:
        """Return an OAuth error."""
        code = error.fields.get("error") or ("invalid_request" if error.status < 500 else "internal_failure")
        return web.json_response({"error": code, "error_description": error.text}, status=error.status)


class ImpersonationEndpoint(TokenEndpoint):
    """The service account's tokens. sts: whose tokens it takes; its own are another's account."""

    def __init__(self, sts: StsEndpoint) -> None:
        super().__init__(None, sts.clock)
        self.sts, self.minted = sts, MintedTokens()

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Mint a token of a service account."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        found = self.sts.minted.find(bearer, self.clock())
        if scheme != "Bearer" or found is None:
            raise RefusedError("bearer", "Request had invalid authentication credentials.", 401)
        account = request.match_info["account"]
        if (found.account, account) != (self.sts.pool.subject, self.sts.pool.service_account):
            raise DeniedError("not_bound")
        body = await read_json(request, _MAX_BODY)
        scopes = body.get("scope")
        if body.keys() - {"scope", "lifetime", "delegates"} or not isinstance(scopes, list) or not scopes:
            raise RefusedError("scope", "Request must contain scope.")
        asked = _LIFETIME.fullmatch(str(body.get("lifetime", f"{_LONGEST}s")))
        if asked is None or int(asked[1]) > _LONGEST:
            raise RefusedError("lifetime", "The lifetime is not allowed.")
        expires = self.clock() + life(fault, int(asked[1]))
        made = self.minted.mint(opaque("ya29.c.practice-"), account, expires, " ".join(map(str, scopes)))
        stamp = datetime.fromtimestamp(int(expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"accessToken": made.value, "expireTime": stamp})

    def denied(self, reason: str) -> web.Response:
        """Return the error for an account that the caller may not impersonate."""
        del reason
        text = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
        return self.refused(RefusedError("", text, 403))

    def refused(self, error: RefusedError) -> web.Response:
        """Return an error of Google's APIs."""
        status = _STATUSES.get(error.status, "INVALID_ARGUMENT" if error.status < 500 else "UNAVAILABLE")
        body = {"code": error.status, "message": error.text, "status": status}
        return web.json_response({"error": body}, status=error.status)


def add_routes(app: web.Application, sts: StsEndpoint, impersonation: ImpersonationEndpoint) -> None:
    """Add both endpoints' routes to a practice provider's."""
    app.router.add_post(STS_PATH, sts.handle)
    app.router.add_post(IMPERSONATION_PATH, impersonation.handle)
