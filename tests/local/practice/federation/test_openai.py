from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import openai
from local.practice.federation.endpoint import TOKEN_EXCHANGE, TYPE_ID, TYPE_JWT, Fault
from local.practice.federation.openai import PATH, OpenAiEndpoint
from tests import forge
from tests.own_issuer import SUBJECT, Clock, OwnIssuer, Response, post_form, post_json
from tests.practice_server import serving


@dataclass
class Caller:
    """The endpoint, and our issuer as its caller."""

    endpoint: OpenAiEndpoint
    issuer: OwnIssuer
    url: str

    def body(self, token: str | None = None, **members: object) -> dict[str, object]:
        whole = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": token or self.issuer.assertion(),
            "subject_token_type": TYPE_JWT,
            "identity_provider_id": self.endpoint.mapping.identity_provider,
            "service_account_id": self.endpoint.mapping.service_account,
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def mint(self, token: str | None = None, **members: object) -> Response:
        return post_json(self.url, self.body(token, **members))

    def reason(self) -> str:
        return self.endpoint.history[-1].reason


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    mapping, app = openai.Mapping(SUBJECT), web.Application()
    issuer = OwnIssuer(clock, mapping.audience)
    endpoint = OpenAiEndpoint(issuer.trusted(), mapping, clock)
    openai.add_routes(app, endpoint)
    with serving(app) as url:
        yield Caller(endpoint, issuer, url + PATH)


def test_a_subject_token_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token looks like a JWT of OpenAI's, and is accepted until its end."""
    answer = caller.mint()
    value = answer.body["access_token"]
    assert (answer.status, answer.body["token_type"], answer.body["expires_in"]) == (200, "Bearer", 3600)
    assert "scope" not in answer.body
    assert forge.claims_of(value)["iss"] == "https://auth.openai.com"
    assert caller.endpoint.minted.accepts(value, clock() + 3599)
    assert not caller.endpoint.minted.accepts(value, clock() + 3600)


def test_both_types_of_subject_tokens_are_taken(caller: Caller) -> None:
    assert caller.mint(subject_token_type=TYPE_ID).status == 200


def test_a_token_never_outlives_its_subject_token(caller: Caller, clock: Clock) -> None:
    token = caller.issuer.assertion(exp=int(clock()) + 300)
    clock.now += 100
    assert caller.mint(token).body["expires_in"] == 200


def test_a_subject_token_can_be_used_again(caller: Caller) -> None:
    """No rule about `jti` is documented, so none is played."""
    token = caller.issuer.assertion()
    assert [caller.mint(token).status, caller.mint(token).status] == [200, 200]


def test_a_restricted_mapping_says_its_scope(caller: Caller) -> None:
    caller.endpoint.mapping.scope = "model.request"
    assert caller.mint().body["scope"] == "model.request"


def test_a_subject_token_that_is_not_accepted_is_denied(caller: Caller, clock: Clock) -> None:
    """A wrong audience, issuer, key or time, and a token of ours for callers, have one OAuth error."""
    now = int(clock())
    denied = {
        "match_audience": caller.issuer.assertion(aud="https://api.anthropic.com"),
        "match_issuer": caller.issuer.assertion(iss="https://other.example.com"),
        "kid_missing": caller.issuer.assertion(header={"kid": ""}),
        "expired": caller.issuer.assertion(iat=now - 10, exp=now),
        "type_not_allowed": caller.issuer.token_for_a_caller(),
        "malformed": "not-a-jwt",
    }
    for expected, token in denied.items():
        answer = caller.mint(token)
        assert (answer.status, answer.body["error"], caller.reason()) == (401, "invalid_subject_token", expected)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"identity_provider_id": None}, "invalid_request"),
        ({"identity_provider_id": "idp_other"}, "invalid_grant"),
        ({"service_account_id": "svc_acct_other"}, "invalid_grant"),
        ({"scope": "all"}, "invalid_request"),
    ],
)
def test_a_wrong_member_has_its_oauth_error(caller: Caller, members: Mapping[str, Any], error: str) -> None:
    answer = caller.mint(**members)
    assert (answer.status, answer.body["error"]) == (400, error)
    assert answer.body["error_description"]


def test_another_subject_has_no_mapping(caller: Caller) -> None:
    """A subject that is not the mapping's, and a mapping that was disabled, mint nothing."""
    assert caller.mint(caller.issuer.assertion(sub=f"{SUBJECT}2")).body["error"] == "invalid_grant"
    caller.endpoint.mapping.is_enabled = False
    assert caller.mint().body["error"] == "invalid_grant"
    assert caller.reason() == "match_mapping"


def test_only_json_is_read(caller: Caller) -> None:
    form = {name: str(value) for name, value in caller.body().items()}
    assert post_form(caller.url, form).body["error"] == "invalid_request"
    assert post_json(caller.url, b" " * (32 * 1024 + 1)).status == 413


def test_faults_are_answered_in_the_endpoint_s_form(caller: Caller) -> None:
    caller.endpoint.faults.coming = [Fault(is_denied=True), Fault(status=503, is_done=True, retry_after="3")]
    assert caller.mint().body["error"] == "invalid_subject_token"
    away = caller.mint()
    assert (away.status, away.body["error"], away.headers["retry-after"]) == (503, "server_error", "3")
    assert len(caller.endpoint.minted) == 1
