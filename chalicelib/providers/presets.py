"""The table of providers, and the entries of APIs that run no language models.

Where these are from: what Stripe, Octokit and PyGithub publish as SDKs (their sources, read in 2026). To add a provider, write
an entry here or in language_models.py or openai_compatible.py, add a vector (tests/vectors/providers) and run `make providers`.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.providers.entry import FORM, EncodedSlash, Probe, Provider, Sdk, below
from chalicelib.providers.language_models import LANGUAGE_MODELS
from chalicelib.providers.openai_compatible import OPENAI_COMPATIBLE

_BOTH = (
    "hooks"  # the deliveries show the headers that were sent
    " actions/runners/generate-jitconfig actions/runners/registration-token actions/runners/remove-token"  # mint tokens
    " secret-scanning"  # an alert shows the secret that was found
    " actions/secrets codespaces/secrets dependabot/secrets"  # put one's own in their place
    " actions/oidc actions/permissions"  # say who a workflow is to others, and what its token may do
    " invitations"
)
"""What organizations and repositories have in common, below each."""
_ORGANIZATION = (
    f"{_BOTH} settings memberships installations copilot/billing"  # administer the account
    " personal-access-tokens personal-access-token-requests credential-authorizations private-registries"
    " outside_collaborators organization-roles security-managers"  # let others in
)
_REPOSITORY = (
    f"{_BOTH} keys"  # a deploy key is a credential
    " actions/organization-secrets environments/*/secrets"
    " collaborators"  # let others in
)
_TEAM = "memberships repos external-groups team-sync"
"""Let others in. A team has three paths."""

_BELOW_A_BRANCH = "protection rename"
_BELOW_A_COMMIT = "branches-where-head check-runs check-suites comments pulls status statuses"
_ENCODED_SLASHES = tuple(
    EncodedSlash(f"{base}/{name}", is_separator=is_separator, below=below_it)
    for base in ("/repos/*/*", "/repositories/*")
    for is_separator, names, below_it in (
        # Its reference writes these parameters with slashes (`contents/docs/a.md`, `git/ref/heads/main`), and its clients
        # without: both are served, and are the same.
        (True, "contents git/ref git/refs git/matching-refs readme", ""),
        # These end the path, however an encoded slash in them is read.
        (False, "compare issues/*/labels labels releases/tags tarball zipball", ""),
        (False, "branches", _BELOW_A_BRANCH),
        (False, "commits", _BELOW_A_COMMIT),
    )
    for name in names.split()
)
"""GitHub's parameters that may have a slash, which Octokit and PyGithub encode."""

_GITHUB = Provider(
    origin="https://api.github.com",
    # As clients write it for an Enterprise Server, which any other host is to them.
    paths=(("/api/v3", ""), ("/api/graphql", "/graphql")),
    verbs=False,
    encoded_slashes=_ENCODED_SLASHES,
    closed=(
        *below("", "app app-manifests applications authorizations credentials enterprises installation/token scim"),
        *below("", "admin login manage setup"),  # (K) an Enterprise Server's; the first mints tokens of any user
        *below("/user", "email emails gpg_keys keys ssh_signing_keys installations codespaces/secrets"),
        *below("/user", "memberships repository_invitations"),
        "/users/*/settings",
        *(path for base in ("/orgs/*/teams/*", "/organizations/*/team/*", "/teams/*") for path in below(base, _TEAM)),
        *(path for base in ("/orgs/*", "/organizations/*") for path in below(base, _ORGANIZATION)),
        # By number, a repository has a second path.
        *(path for base in ("/repos/*/*", "/repositories/*") for path in below(base, _REPOSITORY)),
    ),
    overrides=(FORM,),  # (K) in Ruby, where Rack reads it in forms only
    probe=Probe("GET", "/rate_limit", (("user-agent", "keybroker"),)),  # counts towards no limit
    error_text=("message",),
    key_pattern=r"github_pat_\w{82}|gh[pousr]_[A-Za-z0-9]{36,}",
    sdks=(
        Sdk(
            "github",
            key="GITHUB_TOKEN",
            url="GITHUB_API_URL",
            note="`@octokit/action` reads both; PyGithub and octokit read neither: pass them on. `gh` takes no such URL",
        ),
    ),
)
PROVIDERS: Mapping[str, Provider] = {
    **LANGUAGE_MODELS,
    **OPENAI_COMPATIBLE,
    "github": _GITHUB,
    # An App's installation in place of a person's token: its tokens live for an hour, and are minted (federated.py).
    "github-app": _GITHUB._replace(sdks=(), key_pattern=""),
    "stripe": Provider(
        origin="https://api.stripe.com",
        closed=(
            *below("/v1", "account_links account_sessions accounts/*/login_links apps/secrets ephemeral_keys"),
            *below("/v1", "terminal/connection_tokens terminal/onboarding_links webhook_endpoints forwarding"),
            "/v1/stripecli",  # (K) where its command line gets a key and a stream of all events
            *below("/v2", "billing/meter_event_session core/account_links core/event_destinations core/vault"),
            "/v2/iam",  # (K) its keys
        ),
        overrides=(FORM,),  # (K) as GitHub
        probe=Probe("GET", "/v1/balance"),
        error_text=("error", "message"),
        key_pattern=r"[rs]k_live_[0-9A-Za-z]{24,}",
        sdks=(
            Sdk(
                "stripe",
                key="STRIPE_API_KEY",
                url="STRIPE_BASE_URL",
                ours=True,
                note="its SDKs read neither: pass them on",
            ),
        ),
    ),
    "generic": Provider(origin=None, token_headers=("authorization", "x-api-key", "x-goog-api-key", "api-key")),
}
