from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import openrouter
from local.practice.federation.endpoint import TOKEN_EXCHANGE, TYPE_ACCESS, TYPE_JWT, Fault
from local.practice.federation.openrouter import PATH, OpenRouterEndpoint
from local.practice.federation.trust import TrustedIssuer
from tests import forge
from tests.own_issuer import SUBJECT, Clock, OwnIssuer, Response, post_form, post_json
from tests.practice_server import serving


@dataclass
class Caller:
    """The endpoint, and our issuer as its caller."""

    endpoint: OpenRouterEndpoint
    issuer: OwnIssuer
    url: str

    def body(self, token: str | None = None, **members: str | None) -> dict[str, str]:
        whole = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": self.issuer.assertion() if token is None else token,
            "subject_token_type": TYPE_JWT,
            "federation_policy_id": self.endpoint.policy.id,
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def mint(self, token: str | None = None, **members: Any) -> Response:  # noqa: ANN401  any form member
        return post_form(self.url, self.body(token, **members))


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    policy, app = openrouter.Policy(SUBJECT), web.Application()
    issuer = OwnIssuer(clock, policy.audience)
    endpoint = OpenRouterEndpoint(TrustedIssuer(issuer.url, issuer.jwks, clock=clock), policy, clock)
    openrouter.add_routes(app, endpoint)
    with serving(app) as url:
        yield Caller(endpoint, issuer, url + PATH)


def test_a_subject_token_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token lives a quarter of an hour at most, and says its scope."""
    answer = caller.mint()
    value = answer.body.pop("access_token")
    assert (answer.status, answer.body) == (
        200,
        {"issued_token_type": TYPE_ACCESS, "token_type": "Bearer", "expires_in": 900, "scope": "inference"},
    )
    assert caller.endpoint.minted.accepts(value, clock() + 899)
    assert not caller.endpoint.minted.accepts(value, clock() + 900)


def test_a_token_never_outlives_its_subject_token(caller: Caller, clock: Clock) -> None:
    assert caller.mint(caller.issuer.assertion(exp=int(clock()) + 100)).body["expires_in"] == 100


def test_two_algorithms_are_taken(clock: Clock, caller: Caller) -> None:
    """RS256 is, too; PS256 of the same key is not."""
    key = forge.rsa_key("ours-rsa")
    issuer = OwnIssuer(clock, caller.issuer.audience, key)
    caller.endpoint.issuer = issuer.trusted()
    assert caller.mint(issuer.assertion()).status == 200
    other = OwnIssuer(clock, caller.issuer.audience, forge.Key("ours-rsa", "PS256", key.private))
    caller.endpoint.issuer = other.trusted()
    assert caller.mint(other.assertion()).body["error"] == "invalid_grant"
    assert caller.endpoint.history[-1].reason == "algorithm_not_allowed"


def test_every_denial_has_one_text(caller: Caller, clock: Clock) -> None:
    """Another subject, audience, issuer or policy, and a token of ours for callers, are denied alike."""
    tokens = (
        caller.issuer.assertion(sub=f"{SUBJECT}2"),
        caller.issuer.assertion(aud="https://api.anthropic.com"),
        caller.issuer.assertion(iss="https://other.example.com"),
        caller.issuer.assertion(iat=int(clock()) - 10, exp=int(clock())),
        caller.issuer.token_for_a_caller(),
    )
    answers = [caller.mint(token) for token in tokens]
    answers.append(caller.mint(federation_policy_id="22222222-3333-4444-8555-666666666667"))
    assert {one.status for one in answers} == {400}
    assert {(one.body["error"], one.body["error_description"]) for one in answers} == {
        ("invalid_grant", "The subject token was not accepted.")
    }
    assert [one.reason for one in caller.endpoint.history] == [
        "match_subject",
        "match_audience",
        "match_issuer",
        "expired",
        "type_not_allowed",
        "policy_not_found",
    ]


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"requested_token_type": TYPE_JWT}, "invalid_request"),
        ({"scope": "management"}, "invalid_scope"),
        ({"federation_policy_id": None}, "invalid_request"),
        ({"client_id": "a"}, "invalid_request"),
    ],
)
def test_a_wrong_member_has_its_oauth_error(caller: Caller, members: Mapping[str, Any], error: str) -> None:
    answer = caller.mint(**members)
    assert (answer.status, answer.body["error"]) == (400, error)


def test_what_is_too_large_is_told(caller: Caller) -> None:
    """A subject token of more than 16 KiB, and a body of 32 KiB, are too large."""
    assert caller.mint("a" * (16 * 1024 + 1)).status == 413
    assert caller.mint("a" * (32 * 1024)).status == 413
    assert caller.mint("a" * (16 * 1024)).body["error"] == "invalid_grant"


def test_only_a_form_is_read(caller: Caller) -> None:
    assert post_json(caller.url, caller.body()).body["error"] == "invalid_request"


def test_a_disabled_key_cuts_what_was_minted(caller: Caller, clock: Clock) -> None:
    """A paused policy only mints nothing more."""
    value = caller.mint().body["access_token"]
    caller.endpoint.policy.is_paused = True
    assert caller.mint().body["error"] == "invalid_grant"
    assert caller.endpoint.minted.accepts(value, clock())
    caller.endpoint.disable_key()
    assert not caller.endpoint.minted.accepts(value, clock())


def test_too_many_requests_say_when_to_come_back(caller: Caller) -> None:
    caller.endpoint.faults.coming = [Fault(status=429, retry_after="7"), Fault(status=503)]
    limited, away = caller.mint(), caller.mint()
    assert (limited.status, limited.body["error"], limited.headers["retry-after"]) == (429, "invalid_request", "7")
    assert (away.status, away.body["error"]) == (503, "temporarily_unavailable")
