"""Entra's token endpoint for applications with federated credentials, as strict as the real one.

Source: its documentation of federated credentials, and azure-identity 1.27's `ClientAssertionCredential`, with which it is checked.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from local.practice.federation.endpoint import Fault, RefusedError, TokenEndpoint, life, read_form, text
from local.practice.federation.minted import jwt_like
from local.practice.federation.trust import Rules, TrustedIssuer

PATH = "/{tenant}/oauth2/v2.0/token"
AUDIENCE = "api://AzureADTokenExchange"
SCOPE = "https://cognitiveservices.azure.com/.default"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_BODY = 32 * 1024  # bytes
_LIFE = 3599  # seconds
_NO_MATCH = "No matching federated identity record found for presented assertion"
_CODES = {
    "match_audience": (700212, f"{_NO_MATCH} audience."),
    "match_subject": (700213, f"{_NO_MATCH} subject."),
    "algorithm_not_allowed": (5002738, "The client assertion's signing algorithm is not supported: use RS256."),
    "expired": (700024, "Client assertion is not within its valid time range."),
    "not_yet_valid": (700024, "Client assertion is not within its valid time range."),
    "signature_invalid": (700027, "Client assertion failed signature validation."),
    "malformed": (50027, "Invalid JWT token."),
}
"""For each reason the number and the text; whatever else does not match has the issuer's."""


@dataclass(slots=True)
class Application:
    """An app registration with one federated credential, whose subject is exactly that."""

    subject: str
    tenant: str = "33333333-4444-4555-8666-777777777777"
    client: str = "44444444-5555-4666-8777-888888888888"
    scope: str = SCOPE


class EntraEndpoint(TokenEndpoint):
    """The endpoint, for one issuer and one application. Issuers are read by discovery only: no key is uploaded."""

    def __init__(self, issuer: TrustedIssuer, application: Application, clock: Callable[[], float] = time.time) -> None:
        super().__init__(issuer, clock)
        self.application = application

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Exchange a client assertion."""
        application = self.application
        if request.match_info["tenant"] != application.tenant:
            raise RefusedError("tenant", "AADSTS90002: Tenant not found.", code=90002)
        body = await read_form(request, _MAX_BODY)
        if text(body, "grant_type") != "client_credentials":
            message = "AADSTS70003: The app requested an unsupported grant type."
            raise RefusedError("grant_type", message, code=70003, error="unsupported_grant_type")
        if text(body, "client_assertion_type") != ASSERTION_TYPE:
            raise RefusedError("assertion_type", "AADSTS50027: Invalid JWT token.", code=50027)
        if text(body, "client_id") != application.client:
            message = "AADSTS700016: Application was not found in the directory."
            raise RefusedError("client", message, code=700016, error="unauthorized_client")
        if text(body, "scope") != application.scope:
            message = "AADSTS70011: The provided value for scope is not valid."
            raise RefusedError("scope", message, code=70011, error="invalid_scope")
        await self.verified(
            text(body, "client_assertion"), Rules(("RS256",), (AUDIENCE,), application.subject, skew=300)
        )
        seconds, now = life(fault, _LIFE), self.clock()
        resource = application.scope.removesuffix("/.default")
        issuer = f"https://sts.windows.net/{application.tenant}/"
        value = jwt_like({"iss": issuer, "aud": resource, "appid": application.client, "exp": int(now) + seconds})
        self.minted.mint(value, application.client, now + seconds, application.scope)
        answer = {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": value}
        return web.json_response(answer, headers={"x-ms-request-id": str(uuid.uuid4())})

    def denied(self, reason: str) -> web.Response:
        """Return the error for a client assertion that is not accepted."""
        code, message = _CODES.get(reason, (700211, f"{_NO_MATCH} issuer."))
        return self._error(401, "invalid_client", code, f"AADSTS{code}: {message}")

    def refused(self, error: RefusedError) -> web.Response:
        """Return an error of Entra's form; a parameter that is missing has its number, too."""
        kind = "invalid_request" if error.status < 500 else "temporarily_unavailable"
        code = error.fields.get("code", 900144 if error.status < 500 else 90033)
        assert isinstance(code, int)  # noqa: S101  given above, or where the error was raised
        message = error.text if error.text.startswith("AADSTS") else f"AADSTS{code}: {error.text}"
        return self._error(error.status, str(error.fields.get("error", kind)), code, message)

    def _error(self, status: int, kind: str, code: int, message: str) -> web.Response:
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        stamp = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        body = {
            "error": kind,
            "error_description": f"{message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
        }
        return web.json_response(body, status=status, headers={"x-ms-request-id": trace})


def add_routes(app: web.Application, endpoint: EntraEndpoint) -> None:
    """Add the endpoint's route to a practice provider's."""
    app.router.add_post(PATH, endpoint.handle)
