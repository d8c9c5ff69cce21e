from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.practice.federation import sts
from local.practice.federation.endpoint import Fault
from local.practice.federation.sts import ACCESS_KEY_ID, Role, StsEndpoint
from local.practice.federation.trust import Rules, TrustedIssuer
from tests import forge
from tests.own_issuer import Clock
from tests.practice_server import serving

AUDIENCE = "https://api.anthropic.com"
SIGNED = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20270115/eu-central-1/sts/aws4_request, SignedHeaders=host, Signature=0"


@dataclass
class Caller:
    """The endpoint, and the role that calls it."""

    endpoint: StsEndpoint
    url: str

    def ask(self, authorization: str = SIGNED, **members: str | None) -> tuple[int, str]:
        usual = {
            "Action": "GetWebIdentityToken",
            "Version": "2011-06-15",
            "Audience.member.1": AUDIENCE,
            "SigningAlgorithm": "RS256",
        }
        form = {name: value for name, value in {**usual, **members}.items() if value is not None}
        asked = urllib.request.Request(
            f"{self.url}/", urllib.parse.urlencode(form).encode(), {"Authorization": authorization}
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def token(self, **members: Any) -> str:  # noqa: ANN401  any form member
        status, text = self.ask(**members)
        assert status == 200
        return element(text, "WebIdentityToken")


@pytest.fixture(scope="module")
def keys() -> StsEndpoint:
    """An endpoint whose keys the others have."""
    return StsEndpoint(Role())


@pytest.fixture
def caller(clock: Clock, keys: StsEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    monkeypatch.setattr(sts, "new_keys", lambda: keys.keys)
    app, endpoint = web.Application(), StsEndpoint(Role(), clock)
    sts.add_routes(app, endpoint)
    with serving(app) as url:
        yield Caller(endpoint, url)


def element(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    assert found, text
    return found[1]


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_the_role_gets_a_jwt_that_a_provider_verifies(caller: Caller, clock: Clock, algorithm: str) -> None:
    """The account's issuer signs it with either algorithm, and its subject is the role."""
    token = caller.token(SigningAlgorithm=algorithm)
    issuer = TrustedIssuer(caller.endpoint.url, caller.endpoint.jwks, clock=clock)
    claims = issuer.verify(token, Rules((algorithm,), (AUDIENCE,), caller.endpoint.role.arn))
    assert re.fullmatch(r"https://[0-9a-f-]{36}\.tokens\.sts\.global\.api\.aws", str(claims["iss"]))
    assert claims["exp"] == int(clock()) + 300
    assert claims["https://sts.amazonaws.com/"] == {
        "aws_account": "123456789012",
        "principal_id": caller.endpoint.role.arn,
    }


def test_the_life_and_the_end_are_as_asked(caller: Caller, clock: Clock) -> None:
    text = caller.ask(DurationSeconds="3600")[1]
    assert forge.claims_of(element(text, "WebIdentityToken"))["exp"] == int(clock()) + 3600
    assert element(text, "Expiration") == "2027-01-15T09:00:00Z"


def test_no_two_tokens_have_one_jti(caller: Caller) -> None:
    assert forge.claims_of(caller.token())["jti"] != forge.claims_of(caller.token())["jti"]


@pytest.mark.parametrize(
    "members",
    [
        {"DurationSeconds": "59"},
        {"DurationSeconds": "3601"},
        {"DurationSeconds": "soon"},
        {"SigningAlgorithm": "ES256"},
        {"SigningAlgorithm": None},
        {"Audience.member.1": None},
        {"Audience.member.1": "a" * 1001},
        {f"Audience.member.{one}": "a" for one in range(1, 12)},
        {"Tags.member.1.Value": "a"},
        {"RoleArn": "a"},
    ],
)
def test_a_wrong_parameter_is_a_validation_error(caller: Caller, members: Mapping[str, Any]) -> None:
    status, text = caller.ask(**members)
    assert (status, element(text, "Code")) == (400, "ValidationError")


def test_several_audiences_and_tags_are_claims(caller: Caller) -> None:
    members = {"Audience.member.2": "b", "Tags.member.1.Key": "grant", "Tags.member.1.Value": "ci"}
    claims = forge.claims_of(caller.token(**members))
    assert claims["aud"] == [AUDIENCE, "b"]
    assert claims["https://sts.amazonaws.com/"]["request_tags"] == {"grant": "ci"}


def test_what_the_role_may_not_is_refused_by_its_name(caller: Caller) -> None:
    """Federation that is off, a session that ends before, and tags without their right each have a code."""
    role = caller.endpoint.role
    role.session_left, role.may_tag = 299, False
    assert element(caller.ask()[1], "Code") == "SessionDurationEscalationException"
    role.session_left = 300
    assert caller.ask()[0] == 200
    tag = {"Tags.member.1.Key": "grant", "Tags.member.1.Value": "ci"}
    assert element(caller.ask(**tag)[1], "Code") == "AccessDenied"
    role.is_federation_enabled = False
    status, text = caller.ask()
    assert (status, element(text, "Code")) == (403, "OutboundWebIdentityFederationDisabledException")


def test_only_a_signed_request_of_the_role_is_answered(caller: Caller) -> None:
    """No signature, another key's, and one for another service are refused."""
    for authorization in ("", SIGNED.replace(ACCESS_KEY_ID, "AKIAOTHER"), SIGNED.replace("/sts/", "/s3/")):
        status, text = caller.ask(authorization)
        assert (status, element(text, "Code")) == (403, "InvalidClientTokenId")


def test_another_action_is_not_known(caller: Caller) -> None:
    assert element(caller.ask(Action="GetCallerIdentity")[1], "Code") == "InvalidAction"


def test_faults_have_the_protocol_s_form(caller: Caller) -> None:
    """The token can be another role's, too, since its subject says whose it is."""
    caller.endpoint.faults.coming = [Fault(is_denied=True), Fault(status=503)]
    assert [element(caller.ask()[1], "Code") for _ in range(2)] == ["AccessDenied", "ServiceUnavailable"]
    other = "arn:aws:iam::210987654321:role/other"
    caller.endpoint.faults.coming = [Fault(account=other)]
    assert forge.claims_of(caller.token())["sub"] == other
