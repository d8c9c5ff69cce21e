from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest

import app
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange
from chalicelib.exchange.request import TokenRequest
from chalicelib.issuers import aws as aws_identity
from chalicelib.issuers import presets
from chalicelib.policy import compile as policy
from chalicelib.tokens.signer import IssuedToken
from tests import forge
from tests.parts import DIALECT, NOW, Parts, claims_of, parts_in

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/billing"
BORN, BORN_AGAIN = "AROAJQABLZS4A3QDU576Q", "AROAKLMNOPQRSTUVWXYZ2"
WEB = "https://0f1e2d3c.tokens.sts.global.api.aws"
POLICY = """\
keys:
  openai: {provider: openai}
issuers:
  sts: {preset: aws-web-identity, url: %(url)s, audience: keybroker, algorithms: [ES256], jwks: %(jwks)s}
grants:
  billing:
    key: openai
    to: {aws: "%(role)s"}
    scope: ["POST:/v1/chat/completions", "GET:/v1/models"]
    ttl: 10m
    quota: {tokens: 3/hour, calls: 100/minute}
  billing-web:
    key: openai
    to: {aws: "%(role)s", issuer: sts, via: web-identity}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 100/hour, calls: 100/minute}
"""
DOCUMENT = POLICY % {"url": WEB, "jwks": json.dumps({"keys": [forge.ec_key("sts-1").jwk]}), "role": ROLE}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        apply(made, DOCUMENT)
        yield made


def apply(parts: Parts, text: str) -> None:
    """Put a policy in force that knows the preset of AWS web identity."""
    rules = replace(DIALECT, presets={**DIALECT.presets, "aws-web-identity": presets.PRESETS["aws-web-identity"]})
    parts.control.apply(policy.parse(text, rules=rules), text, parts.control.current().version, parts.event())


def identity(unique_id: str = BORN, *, role: str = "billing", session: str = "s1", account: str = ACCOUNT) -> Any:  # noqa: ANN401  what API Gateway says
    caller = f"{unique_id}:{session}"
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
    return {"userArn": arn, "accountId": account, "caller": caller, "user": caller}


def issue(parts: Parts, said: Mapping[str, object] | None = None, now: int = NOW, **more: Any) -> IssuedToken:  # noqa: ANN401  TokenRequest's fields
    """Ask for a token as a caller whom API Gateway authenticated."""
    request = TokenRequest("", **{"audience": "openai", "request_id": "req-1", **more})
    caller = aws_identity.from_context(said or identity())
    return exchange.exchange_iam(request, caller, parts.broker(), now, parts.new_id)


def refused(parts: Parts, said: Mapping[str, object] | None = None, **more: Any) -> Refusal:  # noqa: ANN401  as issue
    with pytest.raises(Refusal) as caught:
        issue(parts, said, **more)
    return caught.value


def re_pin(parts: Parts, arn: str, unique_id: str, actor: str = "arn:aws:iam::1:user/ada") -> tuple[int, Any]:
    """Call the administrators' route as API Gateway does: the name in the path is still percent-encoded."""
    path = f"/admin/principals/{quote(arn, safe='')}/pin"
    event = {
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {"content-type": ["application/json"]},
        "multiValueQueryStringParameters": None,
        "pathParameters": {"principal_id": quote(arn, safe="")},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/admin/principals/{principal_id}/pin",
            "httpMethod": "POST",
            "requestId": "req-pin",
            "path": path,
            "identity": {"userArn": actor},
        },
        "body": json.dumps({"unique_id": unique_id}),
        "isBase64Encoded": False,
    }
    answer = app.admin_app(parts.admin_ports)(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def web_identity(role: str = ROLE, account: str = ACCOUNT) -> str:
    """A token of AWS' own OIDC issuer for a role."""
    claims = {
        "iss": WEB,
        "sub": role,
        "aud": "keybroker",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "web-1",
        "https://sts.amazonaws.com/": {"aws_account": account},
    }
    return jwt.encode(claims, forge.ec_key("sts-1").private, algorithm="ES256", headers={"kid": "sts-1"})


def test_a_role_gets_a_token_under_its_own_arn(parts: Parts) -> None:
    issued = issue(parts)
    claims = claims_of(issued.access_token)
    assert (claims["sub"], claims["client_id"], claims["idp"], claims["aud"]) == (ROLE, ROLE, "aws", "openai")
    assert (claims["grant"], claims["exp"] - claims["iat"]) == ("billing", 600)
    assert parts.admit(issued.access_token).principal == ROLE


def test_the_session_s_name_is_not_trusted(parts: Parts) -> None:
    """The session's name is not in the token, and makes no other principal."""
    tokens = [issue(parts, identity(session=name)).access_token for name in ("s1", "admin@example.com")]
    assert {claims_of(token)["sub"] for token in tokens} == {ROLE}
    assert "admin@example.com" not in json.dumps(claims_of(tokens[1]))


def test_the_quota_is_the_role_s_whatever_the_session(parts: Parts) -> None:
    for session in ("a", "b", "c"):
        issue(parts, identity(session=session))
    one = refused(parts, identity(session="d"))
    assert (one.reason, one.status) == ("quota_tokens", 429)


def test_the_issuance_is_in_the_audit_with_the_unique_id(parts: Parts) -> None:
    issued = issue(parts)
    event = parts.events(kind="token.issued")[0]
    assert (event.principal, event.principal_name, event.issuer, event.grant) == (
        ROLE,
        "role/billing",
        "aws",
        "billing",
    )
    assert event.claims == {"aws": ROLE, "aws_account": ACCOUNT}
    assert event.detail == {"unique_id": BORN, "kid": parts.signer.kid(), "epochs": "0 0 0 0 0"}
    assert event.jti == claims_of(issued.access_token)["jti"]


def test_a_recreated_role_is_refused(parts: Parts) -> None:
    """A role that is re-created under the same name is refused, and its id is in the audit."""
    issue(parts)
    one = refused(parts, identity(BORN_AGAIN))
    assert (one.reason, one.error, one.status) == ("identity_changed", "invalid_grant", 400)
    assert "an operator has to re-pin it" in one.description
    assert BORN not in one.description
    event = parts.events(kind="token.refused")[0]
    assert (event.reason, event.principal, event.grant) == ("identity_changed", ROLE, "billing")
    assert event.detail == {"unique_id": BORN_AGAIN}


def test_a_refusal_neither_binds_nor_counts(parts: Parts) -> None:
    issue(parts)
    for _ in range(5):
        refused(parts, identity(BORN_AGAIN))
    issue(parts)
    issue(parts)
    assert refused(parts).reason == "quota_tokens"


def test_a_role_that_no_grant_admits_is_not_bound(parts: Parts) -> None:
    assert refused(parts, audience="other").reason == "no_grant"
    assert issue(parts, identity(BORN_AGAIN)).access_token


def test_the_first_use_binds_and_another_role_is_bound_apart(parts: Parts) -> None:
    apply(parts, DOCUMENT.replace(ROLE, f"arn:aws:iam::{ACCOUNT}:role/*", 1))
    issue(parts, identity(BORN))
    issue(parts, identity(BORN_AGAIN, role="reports"))
    assert refused(parts, identity(BORN, role="reports")).reason == "identity_changed"
    assert refused(parts, identity(BORN_AGAIN)).reason == "identity_changed"


def test_an_operator_re_pins_with_an_audit_event_and_then_it_works(parts: Parts) -> None:
    issue(parts)
    refused(parts, identity(BORN_AGAIN))
    assert re_pin(parts, ROLE, BORN_AGAIN) == (200, {"principal": ROLE, "unique_id": BORN_AGAIN})
    event = parts.events(kind="principal.pinned")[0]
    assert (event.principal, event.actor, event.request_id) == (ROLE, "arn:aws:iam::1:user/ada", "req-pin")
    assert event.detail == {"unique_id": BORN_AGAIN}
    assert issue(parts, identity(BORN_AGAIN)).access_token
    assert refused(parts, identity(BORN)).reason == "identity_changed"


def test_a_role_is_re_pinned_by_its_arn_with_its_path_too(parts: Parts) -> None:
    issue(parts)
    with_path = f"arn:aws:iam::{ACCOUNT}:role/team/a/billing"
    assert re_pin(parts, with_path, BORN_AGAIN) == (200, {"principal": ROLE, "unique_id": BORN_AGAIN})
    assert issue(parts, identity(BORN_AGAIN)).access_token


def test_a_role_may_be_pinned_before_its_first_use(parts: Parts) -> None:
    assert re_pin(parts, ROLE, BORN_AGAIN)[0] == 200
    assert refused(parts, identity(BORN)).reason == "identity_changed"


@pytest.mark.parametrize(
    ("arn", "unique_id", "status", "title"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/billing/s1", BORN, 404, "not_found"),
        (f"arn:aws:iam::{ACCOUNT}:role/*", BORN, 404, "not_found"),
        ("https://ci.example|repository_id:1234", BORN, 404, "not_found"),
        (ROLE, "AIDAJQABLZS4A3QDU576Q", 400, "invalid_request"),
        (ROLE, f"{BORN}:s1", 400, "invalid_request"),
        (ROLE, "", 400, "invalid_request"),
    ],
)
def test_what_cannot_be_bound_changes_nothing(parts: Parts, arn: str, unique_id: str, status: int, title: str) -> None:
    issue(parts)
    found, body = re_pin(parts, arn, unique_id)
    assert (found, body["title"]) == (status, title)
    assert parts.events(kind="principal.pinned") == ()
    assert issue(parts).access_token


@pytest.mark.parametrize(
    ("said", "claim"),
    [(identity(account="210987654321"), "aws_account"), (identity(role="reports"), "aws")],
)
def test_another_account_or_role_is_refused_by_its_own_values_only(
    parts: Parts, said: Mapping[str, str], claim: str
) -> None:
    one = refused(parts, said, grant="billing")
    assert (one.reason, one.error) == ("no_grant", "invalid_target")
    assert f"your claim {claim!r} is" in one.description
    assert ROLE not in one.description
    assert BORN not in one.description


def test_a_grant_for_web_identity_admits_nobody_by_iam(parts: Parts) -> None:
    assert refused(parts, grant="billing-web").reason == "no_grant"


def test_the_same_role_by_web_identity_is_another_principal(parts: Parts) -> None:
    by_iam = claims_of(issue(parts).access_token)
    by_web = claims_of(parts.exchange(web_identity(), audience="openai").access_token)
    assert (by_iam["sub"], by_web["sub"]) == (ROLE, f"{WEB}|sub:{ROLE}")
    assert (by_iam["grant"], by_web["grant"]) == ("billing", "billing-web")
    assert (by_iam["idp"], by_web["idp"]) == ("aws", WEB)


def test_the_grant_by_iam_admits_no_web_identity(parts: Parts) -> None:
    with pytest.raises(Refusal) as caught:
        parts.exchange(web_identity(), grant="billing")
    assert caught.value.reason == "no_grant"


def test_the_account_of_a_web_identity_is_compared_too(parts: Parts) -> None:
    with pytest.raises(Refusal) as caught:
        parts.exchange(web_identity(account="210987654321"))
    assert caught.value.reason == "no_grant"
    assert "https://sts.amazonaws.com/.aws_account" in caught.value.description


def test_a_revocation_of_one_leaves_the_other(parts: Parts) -> None:
    by_web = parts.exchange(web_identity()).access_token
    by_iam = issue(parts).access_token
    parts.revoke("principal", ROLE)
    with pytest.raises(Refusal) as caught:
        parts.admit(by_iam)
    assert caught.value.reason == "revoked_principal"
    assert refused(parts).reason == "revoked_principal"
    assert parts.admit(by_web).grant == "billing-web"


def test_all_of_aws_is_revoked_as_one_issuer(parts: Parts) -> None:
    token = issue(parts).access_token
    parts.revoke("issuer", "aws")
    with pytest.raises(Refusal) as caught:
        parts.admit(token)
    assert caught.value.reason == "revoked_issuer"
    assert refused(parts).reason == "revoked_issuer"


def test_nobody_can_bring_a_subject_token_of_the_issuer_aws(parts: Parts) -> None:
    claims = {"iss": "aws", "sub": ROLE, "aws": ROLE, "aws_account": ACCOUNT, "aud": "keybroker", "iat": NOW}
    key = forge.ec_key("sts-1")
    forged = jwt.encode({**claims, "exp": NOW + 300}, key.private, algorithm="ES256", headers={"kid": key.kid})
    with pytest.raises(Refusal) as caught:
        parts.exchange(forged)
    assert (caught.value.reason, caught.value.error, caught.value.description) == (
        "issuer_unknown",
        "invalid_grant",
        "",
    )


def test_a_retry_gets_the_same_claims(parts: Parts) -> None:
    """A retry with the same Idempotency-Key gets the same claims."""
    again = [claims_of(issue(parts, idempotency_key="0123456789abcdef0123456789abcdef").access_token) for _ in range(4)]
    assert all(one == again[0] for one in again)
    assert len(parts.events(kind="token.issued")) == 1


def test_each_request_gets_its_own_token(parts: Parts) -> None:
    """Without an Idempotency-Key each request gets a token of its own."""
    assert len({claims_of(issue(parts).access_token)["jti"] for _ in range(3)}) == 3


def ask_iam(parts: Parts, body: str, kind: str, said: Mapping[str, object] | None) -> tuple[int, Any]:
    context = {"resourcePath": "/token/iam", "httpMethod": "POST", "requestId": "req-1", "path": "/token/iam"}
    event = {
        "headers": {"content-type": kind},
        "multiValueHeaders": {"content-type": [kind]},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": context | ({} if said is None else {"identity": said}),
        "body": body,
        "isBase64Encoded": False,
    }
    answer = app.public_app(parts.public_ports)(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def test_the_route_takes_the_identity_from_api_gateway_alone(parts: Parts) -> None:
    body = {"audience": "openai", "identity": identity(), "userArn": ROLE, "aws": ROLE}
    for said in (None, {}, {"sourceIp": "198.51.100.7"}):
        status, answer = ask_iam(parts, json.dumps(body), "application/json", said)
        assert (status, answer["error"]) == (403, "access_denied")
    assert ask_iam(parts, json.dumps(body), "application/json", identity())[0] == 200
    assert ask_iam(parts, urlencode({"audience": "openai"}), "application/x-www-form-urlencoded", identity())[0] == 200


def test_root_is_told_so(parts: Parts) -> None:
    root = {"userArn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT, "caller": ACCOUNT, "user": ACCOUNT}
    status, answer = ask_iam(parts, '{"audience": "openai"}', "application/json", root)
    assert (status, answer["error"], answer["error_description"]) == (
        403,
        "access_denied",
        "the account's root user is never let in",
    )
