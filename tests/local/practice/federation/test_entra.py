from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import entra
from local.practice.federation.endpoint import Fault
from local.practice.federation.entra import ASSERTION_TYPE, AUDIENCE, SCOPE, EntraEndpoint
from local.practice.federation.trust import TrustedIssuer
from tests import forge
from tests.own_issuer import SUBJECT, Clock, OwnIssuer, Response, post_form, post_json
from tests.practice_server import serving


@dataclass
class Caller:
    """The endpoint, and our issuer as its caller."""

    endpoint: EntraEndpoint
    issuer: OwnIssuer
    url: str

    def body(self, assertion: str | None = None, **members: str | None) -> dict[str, str]:
        whole = {
            "grant_type": "client_credentials",
            "client_id": self.endpoint.application.client,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.issuer.assertion() if assertion is None else assertion,
            "scope": SCOPE,
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def mint(self, assertion: str | None = None, tenant: str | None = None, **members: Any) -> Response:  # noqa: ANN401  any form member
        tenant = tenant or self.endpoint.application.tenant
        return post_form(f"{self.url}/{tenant}/oauth2/v2.0/token", self.body(assertion, **members))


@pytest.fixture
def caller(clock: Clock) -> Iterator[Caller]:
    app, issuer = web.Application(), OwnIssuer(clock, AUDIENCE, forge.rsa_key("ours-rsa"))
    trusted = TrustedIssuer(issuer.url, issuer.jwks, clock=clock)
    endpoint = EntraEndpoint(trusted, entra.Application(SUBJECT), clock)
    entra.add_routes(app, endpoint)
    with serving(app) as url:
        yield Caller(endpoint, issuer, url)


def test_an_assertion_becomes_a_token(caller: Caller, clock: Clock) -> None:
    """The token lives an hour, whatever is left of the assertion."""
    answer = caller.mint(caller.issuer.assertion(exp=int(clock()) + 60))
    value = answer.body.pop("access_token")
    assert (answer.status, answer.body) == (200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599})
    assert caller.endpoint.minted.accepts(value, clock() + 3598)
    assert not caller.endpoint.minted.accepts(value, clock() + 3599)


def test_only_rs256_is_taken(clock: Clock, caller: Caller) -> None:
    """An assertion of an elliptic key is refused by a number of its own."""
    issuer = OwnIssuer(clock, AUDIENCE)
    caller.endpoint.issuer = issuer.trusted()
    answer = caller.mint(issuer.assertion())
    assert (answer.status, answer.body["error"], answer.body["error_codes"]) == (401, "invalid_client", [5002738])


def test_what_does_not_match_is_told_by_its_number(caller: Caller) -> None:
    """Issuer, audience and subject each have one; a token of ours for callers is signed with what is never taken."""
    denied = (
        (700211, caller.issuer.assertion(iss="https://other.example.com")),
        (700212, caller.issuer.assertion(aud="https://api.anthropic.com")),
        (700213, caller.issuer.assertion(sub=f"{SUBJECT}2")),
        (700211, caller.issuer.assertion(header={"kid": "other"})),
        (700211, caller.issuer.assertion(header={"typ": "at+jwt"})),
        (5002738, caller.issuer.token_for_a_caller()),
    )
    for code, assertion in denied:
        answer = caller.mint(assertion)
        assert (answer.status, answer.body["error"], answer.body["error_codes"]) == (401, "invalid_client", [code])
        assert answer.body["error_description"].startswith(f"AADSTS{code}: ")


def test_an_old_assertion_is_denied_by_its_number(caller: Caller, clock: Clock) -> None:
    """The clocks may differ by five minutes."""
    now = int(clock())
    assert caller.mint(caller.issuer.assertion(iat=now - 600, exp=now - 299)).status == 200
    answer = caller.mint(caller.issuer.assertion(iat=now - 600, exp=now - 300))
    assert (answer.status, answer.body["error_codes"]) == (401, [700024])


@pytest.mark.parametrize(
    ("members", "error", "code"),
    [
        ({"tenant": "other"}, "invalid_request", 90002),
        ({"grant_type": "password"}, "unsupported_grant_type", 70003),
        ({"client_id": "other"}, "unauthorized_client", 700016),
        ({"client_assertion_type": "other"}, "invalid_request", 50027),
        ({"scope": "https://graph.microsoft.com/.default"}, "invalid_scope", 70011),
        ({"client_assertion": None}, "invalid_request", 900144),
    ],
)
def test_a_wrong_member_has_its_number(caller: Caller, members: Mapping[str, Any], error: str, code: int) -> None:
    """An error has a code, a number, a text that starts with it, and IDs to ask about."""
    answer = caller.mint(**members)
    assert (answer.status, answer.body["error"], answer.body["error_codes"]) == (400, error, [code])
    assert answer.body["error_description"].startswith(f"AADSTS{code}: ")
    assert {"timestamp", "trace_id", "correlation_id"} < answer.body.keys()
    assert answer.headers["x-ms-request-id"] == answer.body["trace_id"]


def test_only_a_form_is_read(caller: Caller) -> None:
    url = f"{caller.url}/{caller.endpoint.application.tenant}/oauth2/v2.0/token"
    assert post_json(url, caller.body()).body["error"] == "invalid_request"


def test_faults_have_the_endpoint_s_form(caller: Caller) -> None:
    caller.endpoint.faults.coming = [Fault(is_denied=True), Fault(status=503, retry_after="5")]
    assert caller.mint().body["error_codes"] == [700211]
    away = caller.mint()
    assert (away.status, away.body["error"], away.headers["retry-after"]) == (503, "temporarily_unavailable", "5")
