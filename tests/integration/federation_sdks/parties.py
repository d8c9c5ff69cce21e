"""Each practice endpoint with an issuer of assertions, and what a program needs to mint from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from local.practice.federation import anthropic, openai
from local.practice.federation.endpoint import Fault, TokenEndpoint
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


def _party(endpoint: TokenEndpoint, issuer: OwnIssuer, error: str, settings: Mapping[str, object]) -> Party:
    # After the first request, whatever comes is denied.
    endpoint.faults.coming, endpoint.faults.lasting = [Fault()], DENIED
    return Party(endpoint, {**settings, "assertions": [issuer.assertion(), issuer.assertion()]}, error)


PARTIES: Mapping[str, Callable[[web.Application], Party]] = {"anthropic": _anthropic, "openai": _openai}
