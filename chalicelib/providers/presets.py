"""The table of providers, and the entries of APIs that run no language models.

Where these are from: what Stripe, Octokit and PyGithub publish as SDKs (their sources, read in 2026). To add a provider, write
an entry here or in language_models.py or openai_compatible.py, add a vector (tests/vectors/providers) and run `make providers`.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.providers.entry import Probe, Provider, below
from chalicelib.providers.language_models import LANGUAGE_MODELS
from chalicelib.providers.openai_compatible import OPENAI_COMPATIBLE

_ORGANIZATION = """hooks settings invitations memberships personal-access-tokens personal-access-token-requests
credential-authorizations installations copilot/billing actions/runners/generate-jitconfig actions/runners/registration-token
actions/runners/remove-token"""
_REPOSITORY = """hooks keys actions/runners/generate-jitconfig actions/runners/registration-token
actions/runners/remove-token"""

PROVIDERS: Mapping[str, Provider] = {
    **LANGUAGE_MODELS,
    **OPENAI_COMPATIBLE,
    "github": Provider(
        origin="https://api.github.com",
        # As clients write it for an Enterprise Server, which any other host is to them.
        paths=(("/api/v3", ""), ("/api/graphql", "/graphql")),
        closed=(
            *below("", "app app-manifests applications authorizations credentials enterprises installation/token scim"),
            *below("/user", "emails gpg_keys keys ssh_signing_keys installations"),
            "/users/*/settings",
            *(path for base in ("/orgs/*", "/organizations/*") for path in below(base, _ORGANIZATION)),
            # A hook's deliveries show the headers that were sent. By number, a repository has a second path.
            *(path for base in ("/repos/*/*", "/repositories/*") for path in below(base, _REPOSITORY)),
        ),
        probe=Probe("GET", "/rate_limit", (("user-agent", "keybroker"),)),  # counts towards no limit
        error_text=("message",),
        key_pattern=r"github_pat_\w{82}|gh[pousr]_[A-Za-z0-9]{36,}",
    ),
    "stripe": Provider(
        origin="https://api.stripe.com",
        closed=(
            *below("/v1", "account_links account_sessions accounts/*/login_links apps/secrets ephemeral_keys"),
            *below("/v1", "terminal/connection_tokens terminal/onboarding_links webhook_endpoints forwarding"),
            *below("/v2", "billing/meter_event_session core/account_links core/event_destinations core/vault"),
        ),
        probe=Probe("GET", "/v1/balance"),
        error_text=("error", "message"),
        key_pattern=r"[rs]k_live_[0-9A-Za-z]{24,}",
    ),
    "generic": Provider(origin=None, token_headers=("authorization", "x-api-key", "x-goog-api-key", "api-key")),
}
