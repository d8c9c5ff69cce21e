"""What to enter at each provider: its form, the exact values, and the body of its API where it has one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.federation import anthropic, assertion, azure, google, openai, openrouter
from chalicelib.providers.federated import AWS_STS, FEDERATED

Jwk = Mapping[str, str]


class _Trust(NamedTuple):
    """What the provider has to trust. issuer, subject: of our assertions, or what stands for those of AWS."""

    key: str
    identity: str
    issuer: str
    subject: str
    jwks: Sequence[Jwk]


def of(provider: str, key: str, identity: str, url: str, jwks: Sequence[Jwk]) -> dict[str, Any]:
    """Return the audience of a provider's assertions, the steps to take there, and what to write in the policy."""
    kind = FEDERATED[provider]
    issuer, subject = assertion.issuer_of(url), assertion.subject_of(url, key)
    if identity == AWS_STS:
        issuer, subject = "https://<account's id>.tokens.sts.global.api.aws", "<the ARN of the minter's role>"
    trust = _Trust(key, identity, issuer, subject, jwks)
    audience, steps = _STEPS[provider](trust)
    ids = {name: f"<{name}>" for name in kind.required}
    # Who vouches is always said: what is left out of a policy is another identity on AWS than on one machine.
    written = {**({"identity": identity} if kind.algorithms else {}), **ids}
    policy = f"{key}: {{provider: {provider}, federated: {{{', '.join(f'{name}: {value}' for name, value in written.items())}}}}}"
    ahead = (
        ["once in the account: aws iam enable-outbound-web-identity-federation; its answer names the issuer"]
        if identity == AWS_STS and kind.algorithms
        else []
    )
    return {"audience": audience, "steps": [*ahead, *steps], "policy": policy, "ids": dict(kind.required)}


def former_value(secret: str) -> str:
    """Return the last step on AWS, where nothing of ours may delete a value that was set. secret: its name."""
    command = f"aws secretsmanager delete-secret --secret-id {secret} --recovery-window-in-days 7"
    return (
        f"last, if the key had a value before and its first credential works: delete it at the provider, and {command}"
    )


def _anthropic(trust: _Trust) -> tuple[str, list[str]]:
    keys = {"type": "discovery"} if trust.identity == AWS_STS else {"type": "inline", "keys": list(trust.jwks)}
    match = {"subject_prefix": trust.subject, "audience": anthropic.AUDIENCE}
    rule = {
        "name": _named(trust),
        "issuer_id": "<of the answer>",
        "match": match,
        "target": {"type": "service_account", "service_account_id": "<svac_…>"},
        "workspace_id": "<wrkspc_…>",
        "oauth_scope": "workspace:inference",
        "token_lifetime_seconds": 1800,
    }
    return anthropic.AUDIENCE, [
        "Console: Settings, Workload identity, Connect workload, Custom OIDC; or by the API, with an OAuth token of org:admin:",
        _post(
            "https://api.anthropic.com/v1/organizations/service_accounts",
            {"name": _named(trust), "organization_role": "user"},
        ),
        _once(
            "the issuer",
            _post(
                "https://api.anthropic.com/v1/organizations/federation_issuers",
                {"name": "keybroker", "issuer_url": trust.issuer, "jwks": keys, "check_jti": True},
            ),
        ),
        _post("https://api.anthropic.com/v1/organizations/federation_rules", rule),
        "the service account has to be a member of the workspace; a denial's reason is in the Console's authentication history alone",
    ]


def _openai(trust: _Trust) -> tuple[str, list[str]]:
    verification: dict[str, Any] = {
        "type": "discovery",
        "discovery_url": f"{trust.issuer}/.well-known/openid-configuration",
    }
    if trust.identity != AWS_STS:
        verification = {"type": "uploaded_jwks", "jwks": {"keys": list(trust.jwks)}}
    provider = {
        "name": "keybroker",
        "type": "oidc",
        "issuer": trust.issuer,
        "audience": openai.AUDIENCE,
        "verification": verification,
        "enabled": True,
    }
    rule = {
        "attribute_matchers": {"sub": trust.subject},
        "project_id": "<proj_…>",
        "service_account_id": "<svc_acct_…>",
        "permissions": {"type": "service_account_default"},
        "enabled": True,
    }
    return openai.AUDIENCE, [
        "Dashboard: Organization settings, Security, Workload Identity Provider (an owner); or by the Admin API:",
        _once("the provider", _post("https://api.openai.com/v1/organization/workload_identity_providers", provider)),
        _post("https://api.openai.com/v1/organization/projects/<proj_…>/service_accounts", {"name": _named(trust)})
        + "; if its answer holds an API key, delete that: it is static",
        _post("https://api.openai.com/v1/organization/workload_identity_providers/<idp_…>/federation_rules", rule),
    ]


def _openrouter(trust: _Trust) -> tuple[str, list[str]]:
    keys = "" if trust.identity == AWS_STS else f", JWKS URL {trust.issuer}/jwks"
    return openrouter.AUDIENCE, [
        _once("the issuer", f"Settings, Workload identity, issuer: name keybroker, URL {trust.issuer}{keys}"),
        f"policy: issuer keybroker, subject {trust.subject}, audience {openrouter.AUDIENCE}, acts as: an API key of its own",
        "disabling that API key ends its credentials at once",
        "it reads the issuer's keys over the internet alone: the address has to be public, with TLS",
    ]


def _google(trust: _Trust) -> tuple[str, list[str]]:
    shown = (
        "" if trust.identity == AWS_STS else f" --jwk-json-path=keys.json  # {json.dumps({'keys': list(trust.jwks)})}"
    )
    create = "gcloud iam workload-identity-pools providers create-oidc broker --location=global --workload-identity-pool=keybroker"
    bind = "gcloud iam service-accounts add-iam-policy-binding <email> --role=roles/iam.workloadIdentityUser"
    named = "projects/<number>/locations/global/workloadIdentityPools/keybroker"
    return f"https:{google.resource('<number>', 'keybroker', 'broker')}", [
        _once("the pool", "gcloud iam workload-identity-pools create keybroker --location=global"),
        _once(
            "its provider",
            f"{create} --issuer-uri={trust.issuer} --attribute-mapping=google.subject=assertion.sub{shown}",
        ),
        f"{bind} --member='principal://iam.googleapis.com/{named}/subject/{trust.subject}'",
    ]


def _azure(trust: _Trust) -> tuple[str, list[str]]:
    body = {
        "name": _named(trust),
        "issuer": trust.issuer,
        "subject": trust.subject,
        "audiences": [azure.AUDIENCE],
    }
    return azure.AUDIENCE, [
        "Entra: App registrations, the app, Certificates & secrets, Federated credentials, Other issuer; or by Graph:",
        _post("https://graph.microsoft.com/v1.0/applications/<object id>/federatedIdentityCredentials", body),
        'give the app the role "Cognitive Services OpenAI User" on the resource; a new credential takes minutes to be known everywhere',
        "it takes RS256 alone and reads the issuer's keys over the internet alone",
    ]


def _bedrock(_trust: _Trust) -> tuple[str, list[str]]:
    return "", [
        "give the minter's role, or the role that `role` names, bedrock:CallWithBearerToken and bedrock:InvokeModel* on the models",
        "nothing is registered: AWS checks the signature when the token is used",
    ]


def _github(_trust: _Trust) -> tuple[str, list[str]]:
    return "", [
        "GitHub: Settings, Developer settings, GitHub Apps, New: the permissions that callers may have at most; install it",
        "one machine: keybroker state app-key FILE --client ID --state DIR, and delete the file",
        "AWS: import it into KMS (RSA_2048, SIGN_VERIFY; docs/deploy.md) as alias/keybroker-<stage>-app-<client id>, a dot as `-`",
    ]


def _named(trust: _Trust) -> str:
    """The name of what is made for one key: Anthropic takes `^[a-z0-9-]+$` alone."""
    return f"keybroker-{trust.key.lower().replace('_', '-')}"


def _once(what: str, step: str) -> str:
    return f"{what}, once for all keys: {step}"


def _post(url: str, body: Mapping[str, Any]) -> str:
    return f"POST {url} {json.dumps(body, ensure_ascii=False)}"


_STEPS: Mapping[str, Callable[[_Trust], tuple[str, list[str]]]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "openrouter": _openrouter,
    "gemini": _google,
    "azure-openai": _azure,
    "bedrock": _bedrock,
    "github-app": _github,
}
