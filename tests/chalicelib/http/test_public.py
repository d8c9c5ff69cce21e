"""The public door's views, called as API Gateway calls them."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from chalicelib.exchange.request import JWT_BEARER
from tests.http_door import ADA, JSON, Door
from tests.parts import BROKER, CI, EDGE, SUB, Parts, claims_of, grant, mint
from tests.running import JWT, TOKEN_EXCHANGE

FORM = "application/x-www-form-urlencoded"


def wanted(subject: str, **more: str) -> dict[str, str]:
    fields = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": JWT, "audience": "openai"}
    return {**fields, **more}


# the token endpoint


def test_token_response_members(door: Door) -> None:
    """A token response has exactly the members of RFC 8693 and `base_url`."""
    answer = door.ask("POST", "/token", wanted(mint()))
    claims = claims_of(answer.json["access_token"])
    assert answer.json == {
        "access_token": answer.json["access_token"],
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": claims["scope"],
        "base_url": f"{EDGE}/openai/v1",
    }
    assert (claims["sub"], answer.status) == (SUB, 200)
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert answer.headers["x-request-id"] == "request-1"


def test_base64_body(door: Door) -> None:
    """A body that API Gateway delivers in base64 is read."""
    body = urlencode(wanted(mint())).encode()
    assert door.ask("POST", "/token", body, headers={"content-type": FORM}).status == 200


def test_audit_has_request_id(parts: Parts, door: Door) -> None:
    """The audit event of a token has the response's request id."""
    door.ask("POST", "/token", wanted(mint()))
    assert parts.events(request_id="request-1")[0].kind == "token.issued"


@pytest.mark.parametrize("name", ["grant_type", "subject_token", "subject_token_type", "audience"])
def test_missing_parameter(door: Door, name: str) -> None:
    """A missing parameter is named in the error."""
    fields = {one: value for one, value in wanted(mint()).items() if one != name}
    answer = door.ask("POST", "/token", fields)
    assert answer.status == 400
    assert answer.json == {
        "error": "invalid_request",
        "error_description": f"{name} is missing",
        "request_id": "request-1",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (None, JSON, "invalid_request"),
        ("{", JSON, "invalid_request"),
        ("[]", JSON, "invalid_request"),
        ("audience", FORM, "invalid_request"),
        ("audience=a&audience=b", FORM, "invalid_request"),
        ('{"audience": "a", "audience": "b"}', JSON, "invalid_request"),
        ("grant_type=client_credentials", FORM, "unsupported_grant_type"),
        (urlencode(wanted("x", requested_token_type="urn:x")), FORM, "invalid_request"),
        (json.dumps(wanted("x", audience="\ud800")), JSON, "invalid_request"),
        (json.dumps(wanted("x.y.z")), JSON, "invalid_grant"),
        (b"\xff\xfe", JSON, "invalid_request"),
    ],
)
def test_malformed_token_request(door: Door, body: str | bytes | None, content_type: str, error: str) -> None:
    """A malformed token request is a 400 with the OAuth error code that fits."""
    answer = door.ask("POST", "/token", body, headers={"content-type": content_type})
    assert (answer.status, answer.json["error"]) == (400, error)
    assert answer.headers["cache-control"] == "no-store"


def test_unverified_token_gets_bare_error(door: Door) -> None:
    """Until a token is verified, the response says nothing but `invalid_grant`."""
    answer = door.ask("POST", "/token", wanted(mint(aud="another")))
    assert answer.json == {"error": "invalid_grant", "request_id": "request-1"}


def test_idempotent_retry(door: Door) -> None:
    """A retry with the same Idempotency-Key gets the same claims."""
    subject, headers = mint(), {"Idempotency-Key": "0123456789abcdef0123456789abcdef"}
    first, again = (door.ask("POST", "/token", wanted(subject), headers=headers) for _ in range(2))
    assert claims_of(first.json["access_token"]) == claims_of(again.json["access_token"])


def test_short_idempotency_key(door: Door) -> None:
    """An Idempotency-Key of fewer than 22 characters is a 400."""
    answer = door.ask("POST", "/token", wanted(mint()), headers={"Idempotency-Key": "x" * 21})
    assert answer.status == 400
    assert answer.json["error_description"].startswith("Idempotency-Key must have 22")


def test_quota_exceeded(parts: Parts, door: Door) -> None:
    """A used-up quota is a 429 with a Retry-After."""
    parts.apply(grant(quota="{tokens: 1/hour, calls: 9/minute}"))
    assert door.ask("POST", "/token", wanted(mint())).status == 200
    answer = door.ask("POST", "/token", wanted(mint()))
    assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (429, "quota_exceeded", "3600")


def test_405_names_methods(door: Door) -> None:
    """A 405 names the allowed methods."""
    answer = door.ask("GET", "/token")
    assert (answer.status, answer.json["error"], answer.headers["allow"]) == (405, "invalid_request", "POST")


@pytest.mark.parametrize("identity", [None, {}, {"userArn": ADA}, {"user": "ada", "sourceIp": "::1"}])
def test_token_iam_needs_identity(parts: Parts, door: Door, identity: dict[str, str] | None) -> None:
    """Without an identity from API Gateway, /token/iam issues nothing and records nothing."""
    before = len(parts.events())
    claimed = {"x-amzn-user-arn": ADA, "authorization": "AWS4-HMAC-SHA256 Credential=x"}
    answer = door.ask("POST", "/token/iam", {"audience": "openai"}, identity=identity, headers=claimed)
    assert (answer.status, answer.json["error"]) == (403, "access_denied")
    assert len(parts.events()) == before


# the documents


def test_metadata(door: Door) -> None:
    """Both metadata documents are the same, and name each endpoint."""
    documents = [
        door.ask("GET", f"/.well-known/{one}") for one in ("oauth-authorization-server", "openid-configuration")
    ]
    assert documents[0].json == documents[1].json
    found = documents[0].json
    assert (found["issuer"], found["token_endpoint"]) == (BROKER, f"{BROKER}/token")
    assert found["revocation_endpoint"] == f"{BROKER}/revoke"
    assert found["protected_resources"] == [EDGE]
    assert found["jwks_uri"] == f"{BROKER}/.well-known/jwks.json"
    assert found["grant_types_supported"] == [TOKEN_EXCHANGE, JWT_BEARER]
    assert found["id_token_signing_alg_values_supported"] == ["ES256"]
    assert documents[0].headers["cache-control"] == "public, max-age=300"


def test_jwks_is_public_half(parts: Parts, door: Door) -> None:
    """The JWKS has the public half of the signing key and nothing else."""
    answer = door.ask("GET", "/.well-known/jwks.json")
    (key,) = answer.json["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kid"], key["use"], key["alg"]) == (parts.signer.kid(), "sig", "ES256")
    assert answer.headers["cache-control"] == "public, max-age=300"


def audience_of(door: Door, issuer: str) -> object:
    answer = door.ask("GET", "/audience", query={"issuer": issuer})
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=300")
    return answer.json


def test_audience_of_issuer(parts: Parts, door: Door) -> None:
    """A job learns which audience its issuer's tokens must have."""
    parts.apply(grant().replace("audience: keybroker", "audience: keybroker.octo-org"))
    assert audience_of(door, CI) == {"audience": "keybroker.octo-org"}


def test_first_of_several_audiences(parts: Parts, door: Door) -> None:
    """Of several audiences, the first is the one to ask for."""
    parts.apply(grant().replace("audience: keybroker", "audience: [keybroker.new, keybroker]"))
    assert audience_of(door, CI) == {"audience": "keybroker.new"}


def test_audience_hides_registration(parts: Parts, door: Door) -> None:
    """An unregistered issuer gets the same answer as one with the default audience."""
    parts.apply(grant(to='{aws: "arn:aws:iam::123456789012:role/app"}'))
    assert (
        audience_of(door, "aws")
        == audience_of(door, CI)
        == audience_of(door, "https://nobody.example")
        == {"audience": "keybroker"}
    )


@pytest.mark.parametrize(
    "query", [{}, {"issuer": ""}, {"issuer": "https://a.example/" + "a" * 2_000}, {"issuer": CI, "more": "1"}]
)
def test_audience_needs_one_issuer(door: Door, query: dict[str, str]) -> None:
    """A query that does not name exactly one issuer is a 400."""
    answer = door.ask("GET", "/audience", query=query)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_healthz(parts: Parts, door: Door) -> None:
    """/healthz is 200 while state can be read, and 503 otherwise."""
    answer = door.ask("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    (parts.directory / "state.db").rename(parts.directory / "gone.db")
    assert door.ask("GET", "/healthz").status == 503
