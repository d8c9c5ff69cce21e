"""What is known of each API behind the edge, as one table.

Where it is from: what OpenAI, Anthropic, Groq, Mistral, Cohere, OpenRouter, Together, Google, Stripe, Octokit and PyGithub
publish as SDKs (their sources, read in 2026). `(K)` marks what is general knowledge and was checked against nothing.
docs/providers.md shows it to users and is written from here (`python -m tests.provider_table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PathForms = tuple[tuple[str, str], ...]
"""(as clients write a path's beginning, as the provider itself does); the first that fits is meant, "" fits all."""


class Probe(NamedTuple):
    """A cheap request that changes nothing and that only a good key is answered with 200. headers: what it needs.

    400 and 401 say that the key is none (Google and xAI answer 400), 403 that it is one which may not do this.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class Provider(NamedTuple):
    """A preset.

    origin: `https://host[:port]`, None where each installation has its own. header, prefix: how the key is sent.
    base_path: what SDKs expect at the end of a base URL. token_headers: where the SDKs that are used with it put their key.
    token_parameter: the query parameter that may hold it instead, "" for none. paths: see PathForms.
    closed: paths that no grant opens, nor what is below them; `*` is any one segment. They mint credentials or hold them,
    administer the account, or show what headers a request had.
    probe: None where nothing is known to answer. errors: whose form of an error it answers, a key of ERROR_TEXT.
    """

    origin: str | None
    header: str = "authorization"
    prefix: str = "Bearer "
    base_path: str = ""
    token_headers: tuple[str, ...] = ("authorization",)
    token_parameter: str = ""
    paths: PathForms = ()
    closed: tuple[str, ...] = ()
    probe: Probe | None = None
    errors: str = ""


ERROR_TEXT: Mapping[str, tuple[str, ...]] = {
    "openai": ("error", "message"),
    "anthropic": ("error", "message"),
    "google": ("error", "message"),
    "stripe": ("error", "message"),
    "mistral": ("message",),  # (K) for some faults a list, `detail`, instead
    "cohere": ("message",),
    "github": ("message",),
    "": (),
}
"""Where an error of this form has the text for people: the members to follow."""


def _below(base: str, names: str) -> tuple[str, ...]:
    return tuple(f"{base}/{name}" for name in names.split())


def _account(base: str) -> tuple[str, ...]:
    """Where account administration is, or would be if it came: closed by name, before anyone grants a pattern."""
    return _below(base, "organization organizations workspaces api_keys api-keys api-key keys key oauth auth billing")


_EPHEMERAL = (
    "realtime/client_secrets realtime/sessions realtime/transcription_sessions realtime/translations/client_secrets"
)
"""Each answers a key for browsers, which works without the edge."""
_OF_AN_ORGANISATION = """hooks settings invitations memberships personal-access-tokens personal-access-token-requests
credential-authorizations installations copilot/billing actions/runners/generate-jitconfig actions/runners/registration-token
actions/runners/remove-token"""
_OF_A_REPOSITORY = """hooks keys actions/runners/generate-jitconfig actions/runners/registration-token
actions/runners/remove-token"""

PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        origin="https://api.openai.com",
        base_path="/v1",
        paths=(("/v1", "/v1"), ("", "/v1")),
        closed=(
            *_account("/v1"),
            *_below("/v1", _EPHEMERAL + " chatkit/sessions projects dashboard usage vaults webhook_endpoints"),
            "/v1/fine_tuning/checkpoints/*/permissions",
        ),
        probe=Probe("GET", "/v1/models"),
        errors="openai",
    ),
    "anthropic": Provider(
        origin="https://api.anthropic.com",
        header="x-api-key",
        prefix="",
        token_headers=("x-api-key", "authorization"),
        paths=(("/v1", "/v1"), ("", "/v1")),  # Vercel's AI SDK ends its base URL with /v1, and others send /messages
        closed=(
            *_account("/v1"),
            *_below("/v1", "vaults tunnels environments/*/work"),  # tunnels and work answer secrets
            *_below("/v1/user_profiles/*", "enrollment_url action_urls"),
        ),
        probe=Probe("GET", "/v1/models", (("anthropic-version", "2023-06-01"),)),
        errors="anthropic",
    ),
    "gemini": Provider(
        origin="https://generativelanguage.googleapis.com",
        header="x-goog-api-key",
        prefix="",
        token_headers=("x-goog-api-key", "authorization"),
        token_parameter="key",  # noqa: S106  a parameter's name
        # LiteLLM sends no version; (K) v1beta has all that it sends, v1 has not.
        paths=(
            *((version, version) for version in ("/v1", "/v1beta", "/v1alpha", "/upload", "/download")),
            ("", "/v1beta"),
        ),
        # auth_tokens answers keys for browsers, webhooks their signing secrets.
        closed=tuple(
            f"/{version}/{name}"
            for version in ("v1", "v1beta", "v1alpha")
            for name in ("auth_tokens", "webhooks", "tunedModels/*/permissions", "corpora/*/permissions")
        ),
        probe=Probe("GET", "/v1beta/models"),
        errors="google",
    ),
    "mistral": Provider(
        origin="https://api.mistral.ai",
        paths=(("/v1", "/v1"), ("/v2", "/v2"), ("", "/v1")),  # its own SDK sends /v1, OpenAI's does not
        closed=(
            *_account("/v1"),
            *_below("/v1/connectors/*", "auth_url organization user workspace"),
        ),
        probe=Probe("GET", "/v1/models"),
        errors="mistral",
    ),
    "cohere": Provider(
        origin="https://api.cohere.com",
        closed=(
            *_account("/v1"),
            *_account("/v2"),
            *_below("/v1", "connectors check-api-key"),  # connectors hold the credentials of other services
        ),
        probe=Probe("GET", "/v1/models"),
        errors="cohere",
    ),
    "azure-openai": Provider(
        origin=None,
        header="api-key",
        prefix="",
        token_headers=("api-key", "authorization"),
        paths=(("/openai", "/openai"), ("/v1", "/openai/v1"), ("/deployments", "/openai/deployments")),
        closed=(  # (K) keys and accounts are administered at another host
            *_below("/openai/v1", _EPHEMERAL + " vaults webhook_endpoints"),
            "/openai/realtimeapi",
        ),
        probe=Probe("GET", "/openai/v1/models"),
        errors="openai",
    ),
    "groq": Provider(
        origin="https://api.groq.com",
        base_path="/openai/v1",
        paths=(("/openai", "/openai"), ("/v1", "/openai/v1"), ("", "/openai/v1")),  # its own SDK sends /openai/v1
        closed=_account("/openai/v1"),
        probe=Probe("GET", "/openai/v1/models"),
        errors="openai",
    ),
    "openrouter": Provider(
        origin="https://openrouter.ai",
        base_path="/api/v1",
        paths=(("/api", "/api"), ("/v1", "/api/v1"), ("", "/api/v1")),
        closed=(
            *_account("/api/v1"),
            *_below("/api/v1", "credits guardrails byok scim observability activity analytics"),
            "/api/frontend",  # (K) what its own pages call
        ),
        probe=Probe("GET", "/api/v1/key"),  # the list of models needs no key
        errors="openai",
    ),
    "together": Provider(
        origin="https://api.together.xyz",
        base_path="/v1",
        paths=(("/v1", "/v1"), ("/v2", "/v2"), ("", "/v1")),
        closed=(*_account("/v1"), *_account("/v2"), "/v1/compute", "/v1/whoami"),  # (K) a cluster shows its kube_config
        probe=Probe("GET", "/v1/models"),
        errors="openai",
    ),
    "deepseek": Provider(
        origin="https://api.deepseek.com",
        paths=(("/v1", ""),),  # both are served, and are the same
        closed=(*_account(""), *_below("", "user beta/user")),
        probe=Probe("GET", "/models"),
        errors="openai",
    ),
    "xai": Provider(
        origin="https://api.x.ai",
        base_path="/v1",
        paths=(("/v1", "/v1"), ("", "/v1")),
        closed=(*_account("/v1"), *_below("/v1", _EPHEMERAL)),
        probe=Probe("GET", "/v1/api-key"),
        errors="openai",
    ),
    "github": Provider(
        origin="https://api.github.com",
        # As clients write it for an Enterprise Server, which any other host is to them.
        paths=(("/api/v3", ""), ("/api/graphql", "/graphql")),
        closed=(
            *_below(
                "", "app app-manifests applications authorizations credentials enterprises installation/token scim"
            ),
            *_below("/user", "emails gpg_keys keys ssh_signing_keys installations"),
            "/users/*/settings",
            *(path for base in ("/orgs/*", "/organizations/*") for path in _below(base, _OF_AN_ORGANISATION)),
            # A hook's deliveries show the headers that were sent. By number, a repository has a second path.
            *(path for base in ("/repos/*/*", "/repositories/*") for path in _below(base, _OF_A_REPOSITORY)),
        ),
        probe=Probe("GET", "/rate_limit", (("user-agent", "keybroker"),)),  # counts towards no limit
        errors="github",
    ),
    "stripe": Provider(
        origin="https://api.stripe.com",
        closed=(
            *_below("/v1", "account_links account_sessions accounts/*/login_links apps/secrets ephemeral_keys"),
            *_below("/v1", "terminal/connection_tokens terminal/onboarding_links webhook_endpoints forwarding"),
            *_below("/v2", "billing/meter_event_session core/account_links core/event_destinations core/vault"),
        ),
        probe=Probe("GET", "/v1/balance"),
        errors="stripe",
    ),
    "generic": Provider(origin=None, token_headers=("authorization", "x-api-key", "x-goog-api-key", "api-key")),
}
