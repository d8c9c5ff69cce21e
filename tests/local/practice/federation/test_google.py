from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import google
from local.practice.federation.endpoint import TOKEN_EXCHANGE, TYPE_ACCESS, TYPE_JWT, Fault
from local.practice.federation.google import SCOPE, SCOPE_IAM, ImpersonationEndpoint, Pool, StsEndpoint
from tests.own_issuer import SUBJECT, Clock, OwnIssuer, Response, post_form, post_json
from tests.practice_server import serving


@dataclass
class Caller:
    """Both endpoints, and our issuer as their caller."""

    sts: StsEndpoint
    impersonation: ImpersonationEndpoint
    issuer: OwnIssuer
    url: str

    def body(self, token: str | None = None, **members: str) -> dict[str, str]:
        return {
            "grant_type": TOKEN_EXCHANGE,
            "audience": self.sts.pool.name,
            "scope": SCOPE_IAM,
            "requested_token_type": TYPE_ACCESS,
            "subject_token": self.issuer.assertion() if token is None else token,
            "subject_token_type": TYPE_JWT,
            **members,
        }

    def mint(self, token: str | None = None, **members: Any) -> Response:  # noqa: ANN401  any form member
        return post_form(f"{self.url}/v1/token", self.body(token, **members))

    def impersonate(self, bearer: str | None = None, account: str | None = None, **members: object) -> Response:
        bearer = self.mint().body["access_token"] if bearer is None else bearer
        account = account or self.sts.pool.service_account
        url = f"{self.url}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        return post_json(url, {"scope": [SCOPE], **members}, Authorization=f"Bearer {bearer}")


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    pool, app = Pool(SUBJECT), web.Application()
    issuer = OwnIssuer(clock, pool.audiences[0])
    sts = StsEndpoint(issuer.trusted(), pool, clock)
    impersonation = ImpersonationEndpoint(sts)
    google.add_routes(app, sts, impersonation)
    with serving(app) as url:
        yield Caller(sts, impersonation, issuer, url)


def test_a_subject_token_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token lives an hour, whatever is left of the subject token."""
    answer = caller.mint(caller.issuer.assertion(exp=int(clock()) + 60))
    value = answer.body.pop("access_token")
    assert (answer.status, answer.body) == (
        200,
        {"issued_token_type": TYPE_ACCESS, "token_type": "Bearer", "expires_in": 3600},
    )
    assert caller.sts.minted.accepts(value, clock() + 3599)
    assert not caller.sts.minted.accepts(value, clock() + 3600)


def test_the_resource_name_is_an_audience_with_or_without_its_scheme(caller: Caller) -> None:
    assert [caller.mint(caller.issuer.assertion(aud=one)).status for one in caller.sts.pool.audiences] == [200, 200]


def test_a_subject_token_that_is_not_accepted_is_denied(caller: Caller) -> None:
    """Another audience, issuer or subject, one that is too long, and a token of ours for callers, are denied."""
    denied = {
        "match_audience": caller.issuer.assertion(aud="https://api.anthropic.com"),
        "match_issuer": caller.issuer.assertion(iss="https://other.example.com"),
        "attribute_condition": caller.issuer.assertion(sub=f"{SUBJECT}2"),
        "subject_too_long": caller.issuer.assertion(sub="s" * 128),
        "type_not_allowed": caller.issuer.token_for_a_caller(),
    }
    for expected, token in denied.items():
        answer = caller.mint(token)
        assert (answer.status, answer.body["error"]) == (400, "invalid_grant")
        assert caller.sts.history[-1].reason == expected


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"subject_token_type": TYPE_ACCESS}, "invalid_request"),
        ({"requested_token_type": TYPE_JWT}, "invalid_request"),
        ({"audience": "//iam.googleapis.com/projects/1"}, "invalid_target"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_request"),
    ],
)
def test_a_wrong_member_has_its_oauth_error(caller: Caller, members: Mapping[str, Any], error: str) -> None:
    answer = caller.mint(**members)
    assert (answer.status, answer.body["error"]) == (400, error)


def test_a_client_s_authentication_is_not_expected(caller: Caller) -> None:
    answer = post_form(f"{caller.url}/v1/token", caller.body(), Authorization="Bearer a")
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_a_service_account_is_impersonated(caller: Caller, clock: Clock) -> None:
    """The answer has the token and its end, which is as far away as was asked for."""
    answer = caller.impersonate(lifetime="900s", delegates=[])
    assert answer.status == 200
    assert datetime.fromisoformat(answer.body["expireTime"]).timestamp() == clock() + 900
    assert caller.impersonation.minted.accepts(answer.body["accessToken"], clock() + 899)
    assert not caller.sts.minted.accepts(answer.body["accessToken"], clock())


def test_only_a_live_token_of_the_bound_subject_impersonates(caller: Caller, clock: Clock) -> None:
    """No token, an assertion of ours, another account, a subject that is not bound, and an old token are refused."""
    assert caller.impersonate("").status == 401
    assert caller.impersonate(caller.issuer.assertion()).status == 401
    assert caller.impersonate(account="other@practice.iam.gserviceaccount.com").status == 403
    caller.sts.pool.has_condition = False
    other = caller.mint(caller.issuer.assertion(sub="other")).body["access_token"]
    refused = caller.impersonate(other)
    assert (refused.status, refused.body["error"]["status"]) == (403, "PERMISSION_DENIED")
    old = caller.mint().body["access_token"]
    clock.now += 3600
    assert caller.impersonate(old).body["error"]["status"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "members", [{"scope": []}, {"scope": SCOPE}, {"lifetime": "3601s"}, {"lifetime": 900}, {"lifetime": "0s"}, {"a": 1}]
)
def test_a_wrong_impersonation_is_an_invalid_argument(caller: Caller, members: Mapping[str, Any]) -> None:
    answer = caller.impersonate(**members)
    assert (answer.status, answer.body["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_faults_have_the_form_of_either_endpoint(caller: Caller) -> None:
    caller.sts.faults.coming = [Fault(is_denied=True), Fault(status=500)]
    assert [caller.mint().body["error"] for _ in range(2)] == ["invalid_grant", "internal_failure"]
    caller.impersonation.faults.coming = [Fault(is_denied=True), Fault(status=503)]
    found = [caller.impersonate().body["error"]["status"] for _ in range(2)]
    assert found == ["PERMISSION_DENIED", "UNAVAILABLE"]
