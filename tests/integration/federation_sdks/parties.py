"""Each practice endpoint with an issuer of assertions, and what a program needs to mint from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local.practice.federation import anthropic, entra, github_app, google, openai, openrouter, sts
from local.practice.federation.endpoint import Fault, TokenEndpoint
from tests import forge
from tests.own_issuer import SUBJECT, OwnIssuer

DENIED = Fault(is_denied=True)


@dataclass(frozen=True, slots=True)
class Party:
    """One endpoint. settings: what its program reads from stdin. error: how the text of its SDK's error starts."""

    endpoint: TokenEndpoint
    settings: Mapping[str, object]
    error: str

    def accepts(self, token: str) -> bool:
        """Whether a call with the token is answered now."""
        return self.endpoint.minted.accepts(token, time.time())


def _anthropic(app: web.Application) -> Party:
    rule, issuer = anthropic.Rule(SUBJECT), OwnIssuer(time.time, anthropic.AUDIENCE)
    endpoint = anthropic.AnthropicEndpoint(issuer.trusted(), rule)
    anthropic.add_routes(app, endpoint)
    settings = {
        "rule": rule.id,
        "organization": rule.organization,
        "service_account": rule.service_account,
        "workspace": rule.workspaces[0],
    }
    return _party(endpoint, issuer, "WorkloadIdentityError: Token exchange failed (HTTP 401)", settings)


def _openai(app: web.Application) -> Party:
    mapping = openai.Mapping(SUBJECT)
    issuer = OwnIssuer(time.time, mapping.audience)
    endpoint = openai.OpenAiEndpoint(issuer.trusted(), mapping)
    openai.add_routes(app, endpoint)
    settings = {"provider": mapping.identity_provider, "service_account": mapping.service_account}
    return _party(endpoint, issuer, "OAuthError: The subject token could not be verified", settings)


def _openrouter(app: web.Application) -> Party:
    policy = openrouter.Policy(SUBJECT)
    issuer = OwnIssuer(time.time, policy.audience)
    endpoint = openrouter.OpenRouterEndpoint(issuer.trusted(), policy)
    openrouter.add_routes(app, endpoint)
    return _party(endpoint, issuer, "OAuthErrorResponse", {"policy": policy.id})


def _google(app: web.Application) -> Party:
    pool = google.Pool(SUBJECT)
    issuer = OwnIssuer(time.time, pool.audiences[0])
    sts_endpoint = google.StsEndpoint(issuer.trusted(), pool)
    endpoint = google.ImpersonationEndpoint(sts_endpoint)
    google.add_routes(app, sts_endpoint, endpoint)
    settings = {"audience": pool.name, "account": pool.service_account}
    return _party(endpoint, issuer, "RefreshError: ('Unable to acquire impersonated credentials'", settings)


def _entra(app: web.Application) -> Party:
    application = entra.Application(SUBJECT)
    issuer = OwnIssuer(time.time, entra.AUDIENCE, forge.rsa_key("ours-rsa"))
    endpoint = entra.EntraEndpoint(issuer.trusted(), application)
    entra.add_routes(app, endpoint)
    settings = {"tenant": application.tenant, "client": application.client}
    error = "ClientAuthenticationError: Microsoft Entra ID error '(invalid_client) AADSTS700211"
    return _party(endpoint, issuer, error, settings)


def _github_app(app: web.Application) -> Party:
    installation = github_app.Installation()
    owner = OwnIssuer(time.time, "", forge.rsa_key("app"), "Iv23practice")
    endpoint = github_app.GitHubAppEndpoint(owner.trusted(), installation)
    github_app.add_routes(app, endpoint)
    form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    settings = {
        "client": owner.url,
        "installation": installation.id,
        "private_key": owner.key.private.private_bytes(*form).decode(),
    }
    return _party(endpoint, owner, "GithubException: A JSON web token could not be decoded: 401", settings)


def _sts(app: web.Application) -> Party:
    endpoint = sts.StsEndpoint(sts.Role())
    sts.add_routes(app, endpoint)
    settings = {"access_key_id": sts.ACCESS_KEY_ID}
    return _party(endpoint, OwnIssuer(time.time, ""), "ClientError: An error occurred (AccessDenied)", settings)


def _party(endpoint: TokenEndpoint, issuer: OwnIssuer, error: str, settings: Mapping[str, object]) -> Party:
    # After the first request, whatever comes is denied.
    endpoint.faults.coming, endpoint.faults.lasting = [Fault()], DENIED
    return Party(endpoint, {**settings, "assertions": [issuer.assertion(), issuer.assertion()]}, error)


PARTIES: Mapping[str, Callable[[web.Application], Party]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "openrouter": _openrouter,
    "google": _google,
    "entra": _entra,
    "github_app": _github_app,
    "sts": _sts,
}
