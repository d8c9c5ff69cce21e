"""Each kind of issuer, against claim sets as its real tokens have them (vectors/claims/*.json).

source     where the claims are from
header, claims    the token
id         the stable id that the token's principal has to have; or else
refused    the reason that it is refused for, the preset's rules that it breaks, and why
matched    the claims that a sensible grant matches; the id's own, if left out
own url    true for an installation of its own, whose URL the policy has to name

A fixture is read two ways: beside its preset, and end to end, as a token that is exchanged under a policy.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib import principal
from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import TokenRequest
from chalicelib.issuers import presets
from chalicelib.issuers import registry as issuers
from chalicelib.issuers.entry import Preset
from chalicelib.issuers.jwks import Jwks
from chalicelib.issuers.presets import GENERIC, PRESETS
from chalicelib.policy import compile as policy
from chalicelib.policy import grants, lint
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.jwk import ALGORITHMS
from tests import forge
from tests.parts import NOW, Parts, claims_of, parts_in
from tests.refused import refused

CLAIMS = Path(__file__).resolve().parents[2] / "vectors" / "claims"
FIXTURES: dict[str, dict[str, Any]] = {one.stem: json.loads(one.read_text()) for one in sorted(CLAIMS.glob("*.json"))}


def preset_of(name: str) -> tuple[str, Preset]:
    """Return the preset whose name a fixture's begins with; the longest one."""
    known = [one for one in PRESETS if name == one or name.startswith(f"{one}-")]
    found = max(known, key=len, default="")
    return found, PRESETS.get(found, GENERIC)


def problems(name: str) -> set[str]:
    """Say which of the preset's rules a fixture does not keep."""
    header, claims = FIXTURES[name]["header"], FIXTURES[name]["claims"]
    _, preset = preset_of(name)
    types = tokens.SUBJECT_TYPES.union(preset.token_types)
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
def test_rules_of_the_preset(name: str) -> None:
    """A real token keeps every rule of its preset, but for those that its fixture names."""
    expected = FIXTURES[name].get("refused", {"rules": [], "why": "none"})
    assert problems(name) == set(expected["rules"]), expected["why"]


@pytest.mark.parametrize("name", FIXTURES)
def test_url_of_the_preset(name: str) -> None:
    """A real issuer has the URL that its preset expects."""
    kind, preset = preset_of(name)
    url = jws.unverified_issuer(FIXTURES[name]["claims"])
    assert url is not None
    assert issuers.url_fault(url, allow_loopback=False) is None
    assert issuers.fits(url, preset.forms), kind
    assert (preset.url in (None, url)) is (not FIXTURES[name].get("own url"))


def test_every_preset_has_a_fixture() -> None:
    """Every preset has a fixture, and every fixture says where it is from and what is expected."""
    assert {preset_of(name)[0] for name in FIXTURES} - {""} == set(PRESETS)
    for one in FIXTURES.values():
        assert len(one["source"]) > 20
        assert ("id" in one) is not ("refused" in one)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_consistent(name: str) -> None:
    """A preset's algorithms, lifetime, URL and claims fit our own rules."""
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


@pytest.mark.parametrize("name", PRESETS)
def test_lifetime_has_a_dated_document(name: str) -> None:
    """A preset names what the platform's document says of the lifetime, and of when that is."""
    assert re.fullmatch(r".+ \((?:[^()]+; )?(?:read )?20\d\d-(?:0[1-9]|1[0-2])\)", PRESETS[name].documented)
    assert "|" not in PRESETS[name].documented, "it stands in a table"


def test_single_use() -> None:
    """What is single use is what is fresh for each job or call."""
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
        ("eks", "https://oidc-eks.us-west-2.api.aws.example.com/id/E"),
        ("eks", "https://oidc-eks.us-west-2.api.aws/id/E/x"),
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
def test_lookalike_url(preset: str, url: str) -> None:
    """A URL that only looks like the issuer's does not fit."""
    assert not issuers.fits(url, PRESETS[preset].forms)


def test_dual_stack_name_of_eks() -> None:
    """EKS's issuer has a second name, which IPv6 reaches."""
    forms = PRESETS["eks"].forms
    assert issuers.fits("https://oidc-eks.us-west-2.api.aws/id/EXAMPLED539D4633E53DE1B716D3041E", forms)


def test_both_forms_of_github_sub() -> None:
    """Both forms of GitHub's `sub` are the same repository."""
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


def test_merge_request_of_a_fork() -> None:
    """A merge request of a fork is the fork."""
    fork = FIXTURES["gitlab-merge-request-fork"]["claims"]
    assert fork["job_project_id"] == "20"
    assert principal.stable_id(PRESETS["gitlab"].identity, fork) == "project_id:4711"


# End to end


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


def _matched(name: str, preset: Preset) -> list[tuple[str, ...]]:
    """What a sensible grant matches: what the fixture says, or the id."""
    return [tuple(path) for path in FIXTURES[name].get("matched", preset.identity.paths)]


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
        found = {path: principal.look_up(path, claims) or "missing" for path in _matched(name, preset)}
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


@pytest.mark.parametrize("name", [name for name, one in FIXTURES.items() if "id" in one])
def test_exchange(parts: Parts, name: str) -> None:
    """A real token is exchanged, for a token with the expected stable id."""
    url = str(jws.unverified_issuer(FIXTURES[name]["claims"]))
    issued = _exchange(parts, name, uploaded=url.startswith("spiffe:"))
    assert (issued["sub"], issued["idp"]) == (f"{url}|{FIXTURES[name]['id']}", url)
    (event,) = parts.events(request_id=f"req-{name}")
    assert (event.kind, event.principal, event.grant) == ("token.issued", issued["sub"], "app")


@pytest.mark.parametrize("name", [name for name, one in FIXTURES.items() if "refused" in one])
def test_refusal(parts: Parts, name: str) -> None:
    """A token that breaks a rule is refused for the reason that its fixture names."""
    assert refused(lambda: _exchange(parts, name)).reason == FIXTURES[name]["refused"]["reason"]


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-es256", "eks", "spiffe", "spiffe-string-audience"])
def test_uploaded_keys(parts: Parts, name: str) -> None:
    """A cluster that cannot be reached has its keys in the policy."""
    url = str(jws.unverified_issuer(FIXTURES[name]["claims"]))
    unreachable = dataclasses.replace(parts.broker(), keys=Jwks(lambda address, _: pytest.fail(address)))
    text = _policy(name, uploaded=True)
    parts.control.apply(policy.parse(text), text, parts.control.current().version, parts.event())
    request = TokenRequest(_token(name), "openai", f"req-uploaded-{name}")
    identities = frozenset({preset_of(name)[1].identity})
    broker = dataclasses.replace(unreachable, identities=identities)
    issued = claims_of(exchange.exchange(request, broker, NOW, parts.new_id).access_token)
    assert issued["sub"] == f"{url}|{FIXTURES[name]['id']}"


def test_another_organization(parts: Parts) -> None:
    """Another organization under a shared issuer gets nothing."""
    _exchange(parts, "circleci-root-issuer")
    parsed = policy.parse(parts.control.current().text)
    other = FIXTURES["circleci-root-issuer-other-org"]["claims"]
    assert parsed.issuers["idp"].url == other["iss"]
    (grant,) = parsed.grants.values()
    assert grants.differences(grant, other, parsed.issuers["idp"].refused)
