"""Each kind of issuer, against claim sets as its real tokens have them (vectors/claims/*.json, with their sources).

A fixture is read two ways: beside its preset, and end to end, as a token that is exchanged under a policy.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib import principal
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import TokenRequest
from chalicelib.issuers import presets
from chalicelib.issuers import registry as issuers
from chalicelib.issuers.jwks import Jwks
from chalicelib.issuers.presets import GENERIC, PRESETS, Preset
from chalicelib.policy import compile as policy
from chalicelib.policy import grants, lint
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.jwk import ALGORITHMS
from tests import forge
from tests.parts import NOW, Parts, claims_of, parts_in

CLAIMS = Path(__file__).resolve().parents[2] / "vectors" / "claims"
FIXTURES: dict[str, dict[str, Any]] = {one.stem: json.loads(one.read_text()) for one in sorted(CLAIMS.glob("*.json"))}

PROBLEMS: Mapping[str, tuple[set[str], str]] = {
    "bitbucket-custom-audience": ({"audience"}, "Bitbucket keeps the workspace's audience beside: use that one"),
    "buildkite-default-claims": ({"id", "required"}, "slugs are recycled; the agent is asked with --claim pipeline_id"),
    "circleci-ssh-rerun": ({"refused"}, "a person who opened a shell in the job is not the pipeline"),
    "generic-keycloak-two-audiences": ({"audience"}, "a token for two is replayed by the one to the other"),
    "generic-oidc-provider-client": ({"type"}, "an RFC 9068 access token is for an API, it identifies nobody to us"),
    "github-actions-issue-comment": ({"refused"}, "runs on a stranger's words"),
    "github-actions-pull-request-target": (
        {"refused"},
        "runs on a stranger's pull request with the repository's rights",
    ),
    "github-actions-workflow-run": ({"refused"}, "runs after a stranger's workflow with the repository's rights"),
    "gitlab-long-job": ({"lifetime"}, "a job of two days: max_lifetime has to be raised knowingly"),
    "kubernetes-api-audience-extended": ({"lifetime"}, "a year, and made out to the API server"),
    "vercel-development": ({"lifetime", "refused"}, "a person's own machine, for twelve hours"),
}
"""What fixtures are not taken with, and why."""

OWN_URLS = {
    "github-actions-data-residency",
    "github-actions-enterprise-slug",
    "github-actions-ghes",
    "gitlab-self-hosted",
    "hcp-terraform-enterprise",
}
"""Installations of their own: the policy names their URL."""


def preset_of(name: str) -> tuple[str, Preset]:
    """Return the preset whose name a fixture's begins with; the longest one."""
    known = [one for one in PRESETS if name == one or name.startswith(f"{one}-")]
    found = max(known, key=len, default="")
    return found, PRESETS.get(found, GENERIC)


def problems(name: str) -> set[str]:
    """Say which of the preset's rules a fixture does not keep."""
    header, claims = FIXTURES[name]["header"], FIXTURES[name]["claims"]
    kind, preset = preset_of(name)
    types = tokens.SUBJECT_TYPES | ({"jose"} if kind == "spiffe" else set())
    rules = {
        "id": principal.stable_id(preset.identity, claims) is not None,
        "required": all(claims.get(one) not in (None, "") for one in preset.required),
        "lifetime": 0 < claims["exp"] - claims["iat"] <= preset.max_lifetime,
        "audience": isinstance(claims["aud"], str) or len(claims["aud"]) == 1,
        "type": (header["typ"].lower() if "typ" in header else None) in types,
        "algorithm": header["alg"] in preset.algorithms,
        "refused": not any(claims.get(claim) in values for claim, values in preset.refused),
        "header": header.keys() <= {"alg", "kid", "typ", "x5t"},
    }
    return {rule for rule, kept in rules.items() if not kept}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_real_token_keeps_every_rule_of_its_preset_but_for_reasons(name: str) -> None:
    expected, why = PROBLEMS.get(name, (set(), "none"))
    assert problems(name) == expected, why


@pytest.mark.parametrize("name", FIXTURES)
def test_a_real_issuer_has_the_url_that_its_preset_expects(name: str) -> None:
    kind, preset = preset_of(name)
    url = jws.unverified_issuer(FIXTURES[name]["claims"])
    assert url is not None
    assert issuers.url_fault(url, allow_loopback=False) is None
    assert issuers.fits(url, preset.forms), kind
    assert (preset.url in (None, url)) is (name not in OWN_URLS)


def test_every_preset_has_a_fixture_and_every_fixture_says_where_it_is_from() -> None:
    assert {preset_of(name)[0] for name in FIXTURES} - {""} == set(PRESETS)
    assert all(len(one["source"]) > 20 for one in FIXTURES.values())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_keeps_the_house_s_own_rules(name: str) -> None:
    preset = PRESETS[name]
    assert set(preset.algorithms) <= ALGORITHMS
    assert 60 <= preset.max_lifetime <= 25 * 3600
    if preset.url:
        assert issuers.url_fault(preset.url, allow_loopback=False) is None
        assert issuers.fits(preset.url, preset.forms)
    # What is single-use is known by its `jti`, so that has to be there.
    assert not preset.single_use or "jti" in preset.required
    identity = {path[0] for path in preset.identity.paths}
    assert not identity & set(preset.unwise), "the id itself is no unwise claim"


def test_what_is_single_use_is_what_is_fresh_for_each_job_or_call() -> None:
    assert {name for name, one in PRESETS.items() if one.single_use} == {"github-actions", "aws-web-identity"}


@pytest.mark.parametrize(
    ("preset", "url"),
    [
        ("bitbucket", "https://api.bitbucket.org/2.0/workspaces/a/b/pipelines-config/identity/oidc"),
        ("bitbucket", "https://api.bitbucket.org/2.0/workspaces//pipelines-config/identity/oidc"),
        ("circleci", "https://oidc.circleci.com/org/"),
        ("circleci", "https://oidc.circleci.com/"),
        ("circleci", "https://oidc.circleci.com.example.com"),
        ("eks", "https://oidc.eks.us-west-2.amazonaws.com.example.com/id/E"),
        ("eks", "https://oidc.eks.us-west-2.amazonaws.com/id/E/x"),
        ("eks", "https://evil.example.com/oidc.eks.us-west-2.amazonaws.com/id/E"),
        ("azure-managed-identity", "https://sts.windows.net/0e3e2e88"),
        ("azure-managed-identity", "https://login.microsoftonline.com/0e3e2e88/v2.0/"),
        ("azure-devops", "https://vstoken.dev.azure.com/"),
        ("aws-web-identity", "https://a.tokens.sts.global.api.aws.example.com"),
        ("aws-web-identity", "https://a/b.tokens.sts.global.api.aws"),
        ("vercel", "https://oidc.vercel.com/acme/x"),
    ],
)
def test_a_url_that_only_looks_like_the_issuer_s_does_not_fit(preset: str, url: str) -> None:
    assert not issuers.fits(url, PRESETS[preset].forms)


def test_both_forms_of_github_s_sub_are_the_same_repository() -> None:
    old, new = (FIXTURES[name]["claims"] for name in ("github-actions", "github-actions-immutable-sub"))
    assert old["sub"] != new["sub"]
    identity = PRESETS["github-actions"].identity
    assert principal.stable_id(identity, old) == principal.stable_id(identity, new) == "repository_id:456789"


def test_recreated_service_account_is_another_principal() -> None:
    """A service account that was deleted and created again is another principal."""
    first, again = (FIXTURES[name]["claims"] for name in ("kubernetes", "kubernetes-recreated-serviceaccount"))
    assert first["sub"] == again["sub"]
    identity = PRESETS["kubernetes"].identity
    assert principal.stable_id(identity, first) != principal.stable_id(identity, again)


def test_a_merge_request_of_a_fork_is_the_fork() -> None:
    fork = FIXTURES["gitlab-merge-request-fork"]["claims"]
    assert fork["job_project_id"] == "20"
    assert principal.stable_id(PRESETS["gitlab"].identity, fork) == "project_id:4711"


# End to end

MATCHED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "": (("sub",),),
    "github-actions": (("repository_id",), ("repository_owner_id",), ("ref",)),
    "gitlab": (("project_id",), ("ref_path",), ("ref_protected",)),
    "circleci": (("oidc.circleci.com/project-id",),),
    "buildkite": (("pipeline_id",), ("build_branch",)),
    "bitbucket": (("repositoryUuid",), ("branchName",)),
    "azure-devops": (("sub",),),
    "azure-devops-entra": (("sub",), ("tid",)),
    "hcp-terraform": (("terraform_workspace_id",), ("terraform_run_phase",)),
    "kubernetes": (("sub",), ("kubernetes.io", "serviceaccount", "uid")),
    "eks": (("kubernetes.io", "namespace"), ("kubernetes.io", "serviceaccount", "name")),
    "google": (("sub",),),
    "azure-managed-identity": (("oid",), ("tid",)),
    "spiffe": (("sub",),),
    "vercel": (("project_id",), ("environment",)),
}
"""What a sensible grant matches, of each preset."""

REASONS: Mapping[str, str] = {
    "bitbucket-custom-audience": "aud_wrong",
    "buildkite-default-claims": "pipeline_id_missing",
    "circleci-ssh-rerun": "no_grant",
    "generic-keycloak-two-audiences": "aud_wrong",
    "generic-oidc-provider-client": "typ_wrong",
    "github-actions-issue-comment": "no_grant",
    "github-actions-pull-request-target": "no_grant",
    "github-actions-workflow-run": "no_grant",
    "gitlab-long-job": "lifetime_too_long",
    "kubernetes-api-audience-extended": "lifetime_too_long",
    "vercel-development": "lifetime_too_long",
}

_KUBERNETES = "kubernetes:payments/api/e6a8680e-d103-4cce-80ea-03acbbeacf7d"
IDS: Mapping[str, str] = {
    "generic-keycloak": "sub:f3b9a1d2-7c4e-4e0a-9b1d-2c3d4e5f6a7b",
    "generic-oidc-provider-id-token": "sub:23121d3c-84df-44ac-b458-3d63a9a05497",
    "github-actions": "repository_id:456789",
    "github-actions-ghes": "repository_id:74",
    "gitlab": "project_id:20",
    "gitlab-merge-request-fork": "project_id:4711",
    "circleci": "oidc.circleci.com/project-id:5a301f56-eaa7-4cce-9441-37810f7c8452",
    "circleci-root-issuer-other-org": "oidc.circleci.com/project-id:dabad1c2-62eb-48a6-87ab-fc6ae6589281",
    "buildkite": "pipeline_id:0184990a-4782-42b5-afc1-16715b10b100",
    "bitbucket": "repositoryUuid:{2e9e429c-7b8b-404f-8648-8c40c27c9ebd}",
    "azure-devops-pipeline": "sub:p://my-org/my-project/my-pipeline",
    "azure-devops-service-connection": "sub:sc://my-org/my-project/my-connection",
    "azure-devops-entra-issuer": "sub:/eid1/c/pub/t/MiSI_7AJe0O9IsoTwAN97Q/a/rISbSSETf0KqFyZ8ppdXmA/sc/"
    "0ca3ddd9-f0b0-4635-a98c-5866526961b6/64171687-7a59-4fce-b2c8-823278dcf176",
    "hcp-terraform": "terraform_workspace_id:ws-mbsd5E3Ktt5Rg2Xm",
    "kubernetes": _KUBERNETES,
    "kubernetes-recreated-serviceaccount": "kubernetes:payments/api/a709ef71-30e2-489a-bd19-ade97031b9db",
    "eks": _KUBERNETES,
    "google": "sub:112179062720391305885",
    "azure-managed-identity": "oid:644d9b8a-b07e-46e8-b81e-bd3a4c997ce9",
    "azure-managed-identity-system-assigned": "oid:049a48cd-7652-4159-82cf-7a2a42248b38",
    "azure-managed-identity-user-token": "oid:1058bd62-c9bd-4332-b6c4-bcf3f90f1c4e",
    "spiffe": "sub:spiffe://prod.example.org/ns/payments/sa/api",
    "vercel": "project_id:prj_7Gw5ZMBpQA8h9GF832KGp7nwbuh3",
    "aws-web-identity": "sub:arn:aws:iam::123456789012:role/DataProcessingRole",
}
"""The stable id of each fixture, or of all whose names begin so."""


@functools.cache
def _p384() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _key(header: Mapping[str, str]) -> forge.Key:
    """The test's own key in the place of the issuer's, under the same kid."""
    if header["alg"] == "ES384":
        return forge.Key(header["kid"], "ES384", _p384())
    made = forge.rsa_key("presets") if header["alg"] == "RS256" else forge.ec_key("presets")
    return dataclasses.replace(made, kid=header["kid"])


def _token(name: str) -> str:
    """A fixture as a token of now."""
    header, claims = FIXTURES[name]["header"], dict(FIXTURES[name]["claims"])
    moved = {one: NOW + claims[one] - claims["iat"] for one in ("iat", "nbf", "exp") if one in claims}
    fresh = {"jti": f"{claims['jti']}-{name}"} if "jti" in claims else {}
    return forge.token(_key(header), {**claims, **moved, **fresh}, **header)


def _policy(name: str, *, uploaded: bool) -> str:
    """A policy with the fixture's issuer and a grant for its own values."""
    header, claims = FIXTURES[name]["header"], FIXTURES[name]["claims"]
    kind, preset = preset_of(name)
    url = jws.unverified_issuer(claims)
    audiences = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
    issuer: dict[str, object] = {"audience": "keybroker" if "keybroker" in audiences else audiences[0]}
    issuer |= {"preset": kind} if kind else {}
    issuer |= {"url": url} if preset.url != url else {}
    issuer |= {"jwks": {"keys": [_key(header).jwk]}} if uploaded else {}
    to: dict[str, object] = {"issuer": "idp"}
    if kind == "aws-web-identity":
        to |= {"aws": claims["sub"], "via": "web-identity"}
    else:
        found = {path: principal.look_up(path, claims) or "missing" for path in MATCHED[kind]}
        to["claims"] = {json.dumps(path) if len(path) > 1 else path[0]: one for path, one in found.items()}
    grant = {"key": "openai", "to": to, "scope": ["POST:/v1/responses"]}
    grant["quota"] = {"tokens": "100/hour", "calls": "100/minute"}
    whole = {"keys": {"openai": {"provider": "openai"}}, "issuers": {"idp": issuer}, "grants": {"app": grant}}
    return json.dumps(whole)  # JSON is YAML too


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with parts_in(tmp_path_factory.mktemp("presets")) as made:
        yield made


def _exchange(parts: Parts, name: str, *, uploaded: bool = False) -> dict[str, Any]:
    """Put a fixture's policy in force and exchange its token; return the issued token's claims."""
    text = _policy(name, uploaded=uploaded)
    parsed = policy.parse(text)
    assert lint.lint(parsed, PRESETS) == ()
    parts.control.apply(parsed, text, parts.control.current().version, parts.event())
    url = str(jws.unverified_issuer(FIXTURES[name]["claims"]))
    documents = {
        f"{url.removesuffix('/')}/.well-known/openid-configuration": {
            "issuer": url,
            "jwks_uri": "https://keys.example",
        },
        "https://keys.example": {"keys": [_key(FIXTURES[name]["header"]).jwk]},
    }
    broker = dataclasses.replace(
        parts.broker(),
        keys=Jwks(lambda address, _: documents[address]),
        identities=frozenset(one.identity for one in (*PRESETS.values(), presets.GENERIC)),
    )
    request = TokenRequest(_token(name), "openai", f"req-{name}")
    return claims_of(exchange.exchange(request, broker, NOW, parts.new_id).access_token)


def _id(name: str) -> str:
    return IDS[max((one for one in IDS if name == one or name.startswith(f"{one}-")), key=len)]


@pytest.mark.parametrize("name", sorted(FIXTURES.keys() - REASONS.keys()))
def test_a_real_token_is_exchanged_for_one_of_ours(parts: Parts, name: str) -> None:
    url = str(jws.unverified_issuer(FIXTURES[name]["claims"]))
    issued = _exchange(parts, name, uploaded=url.startswith("spiffe:"))
    assert (issued["sub"], issued["idp"]) == (f"{url}|{_id(name)}", url)
    (event,) = parts.events(request_id=f"req-{name}")
    assert (event.kind, event.principal, event.grant) == ("token.issued", issued["sub"], "app")


@pytest.mark.parametrize("name", REASONS)
def test_a_real_token_that_is_not_taken_is_refused_for_this_reason(parts: Parts, name: str) -> None:
    with pytest.raises(Refusal) as caught:
        _exchange(parts, name)
    assert caught.value.reason == REASONS[name]


def test_what_is_refused_is_what_has_a_problem() -> None:
    assert REASONS.keys() == PROBLEMS.keys()


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-es256", "eks", "spiffe", "spiffe-string-audience"])
def test_a_cluster_that_cannot_be_reached_has_its_keys_in_the_policy(parts: Parts, name: str) -> None:
    url = str(jws.unverified_issuer(FIXTURES[name]["claims"]))
    unreachable = dataclasses.replace(parts.broker(), keys=Jwks(lambda address, _: pytest.fail(address)))
    text = _policy(name, uploaded=True)
    parts.control.apply(policy.parse(text), text, parts.control.current().version, parts.event())
    request = TokenRequest(_token(name), "openai", f"req-uploaded-{name}")
    identities = frozenset({preset_of(name)[1].identity})
    broker = dataclasses.replace(unreachable, identities=identities)
    issued = claims_of(exchange.exchange(request, broker, NOW, parts.new_id).access_token)
    assert issued["sub"] == f"{url}|{_id(name)}"


def test_another_organization_under_a_shared_issuer_gets_nothing(parts: Parts) -> None:
    _exchange(parts, "circleci-root-issuer")
    parsed = policy.parse(parts.control.current().text)
    other = FIXTURES["circleci-root-issuer-other-org"]["claims"]
    assert parsed.issuers["idp"].url == other["iss"]
    (grant,) = parsed.grants.values()
    assert grants.differences(grant, other, parsed.issuers["idp"].refused)
