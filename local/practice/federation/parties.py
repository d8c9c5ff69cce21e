"""The practice providers that trust one broker's issuer `/federation`, with the ids that a policy names."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from local.practice.federation import anthropic, entra, github_app, google, openai, openrouter
from local.practice.federation.endpoint import TokenEndpoint
from local.practice.federation.trust import Jwks, TrustedIssuer

_LOCAL: Final = 5.0
"""Seconds that this machine's own broker may take for its keys."""
POLICY: Final[Mapping[str, str]] = {
    "anthropic": "{rule: fdrl_practice, organization: 11111111-2222-4333-8444-555555555555,"
    " service_account: svac_practice, workspace: wrkspc_practice}",
    "openai": "{identity_provider: idp_practice, service_account: svc_acct_practice}",
    "openrouter": "{policy: 22222222-3333-4444-8555-666666666666}",
    "gemini": "{project_number: '123456', pool: practice, pool_provider: broker,"
    " service_account: practice@practice.iam.gserviceaccount.com, quota_project: practice-project}",
    "azure-openai": "{tenant: 33333333-4444-4555-8666-777777777777, client: 44444444-5555-4666-8777-888888888888, resource: acme}",
    "github-app": "{client: Iv23practice, installation: '55555'}",
}
"""What a policy's `federated` says of them."""


def of(broker: str, now: Callable[[], float] = time.time) -> dict[str, TokenEndpoint]:
    """Return the endpoints by provider. Each trusts the assertions of a key with the provider's own name, and no other.

    now: the providers' clock. GitHub's trusts no issuer, but the App's key (`trust_app`).
    """
    issuer = TrustedIssuer(f"{broker}/federation", lambda: _keys(broker), cached=1, clock=now)
    pool = "projects/123456/locations/global/workloadIdentityPools/practice/providers/broker"

    def subject(key: str) -> str:
        return f"spiffe://{urlsplit(broker).hostname}/key/{key}"

    sts = google.StsEndpoint(issuer, google.Pool(subject("gemini"), pool), now)
    return {
        "anthropic": anthropic.AnthropicEndpoint(issuer, anthropic.Rule(subject("anthropic")), now),
        "openai": openai.OpenAiEndpoint(issuer, openai.Mapping(subject("openai")), now),
        "openrouter": openrouter.OpenRouterEndpoint(issuer, openrouter.Policy(subject("openrouter")), now),
        "google-sts": sts,
        "gemini": google.ImpersonationEndpoint(sts),
        "azure-openai": entra.EntraEndpoint(issuer, entra.Application(subject("azure-openai")), now),
    }


def app(key: Jwks, now: Callable[[], float] = time.time) -> TokenEndpoint:
    """Return GitHub's endpoint for the App that POLICY names. key: its public key."""
    issuer = TrustedIssuer("Iv23practice", key, clock=now)
    return github_app.GitHubAppEndpoint(issuer, github_app.Installation(), now)


def add_routes(web_app: web.Application, endpoints: Mapping[str, TokenEndpoint]) -> None:
    """Add their routes to the practice provider's."""
    for endpoint in endpoints.values():
        match endpoint:
            case anthropic.AnthropicEndpoint():
                anthropic.add_routes(web_app, endpoint)
            case openai.OpenAiEndpoint():
                openai.add_routes(web_app, endpoint)
            case openrouter.OpenRouterEndpoint():
                openrouter.add_routes(web_app, endpoint)
            case google.ImpersonationEndpoint():
                google.add_routes(web_app, endpoint.sts, endpoint)
            case entra.EntraEndpoint():
                entra.add_routes(web_app, endpoint)
            case github_app.GitHubAppEndpoint():
                github_app.add_routes(web_app, endpoint)


def _keys(broker: str) -> Jwks:
    with urllib.request.urlopen(f"{broker}/federation/jwks", timeout=_LOCAL) as answer:  # noqa: S310  this machine's own
        found: Jwks = json.load(answer)
    return found
