"""Bearer tokens for Bedrock have the form of AWS's own (aws-bedrock-token-generator 1.1), and end with what they are made of."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import botocore.session
import pytest
from botocore.stub import Stubber

from chalicelib.aws import bedrock_token, clients
from chalicelib.federation.exchange import MintError

NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up credentials."""
    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", "s/+=")):
        monkeypatch.setenv(f"AWS_{name}", value)


def parts(token: str) -> tuple[str, list[tuple[str, str]]]:
    """The host and the query of the request that a token is."""
    text = base64.b64decode(token.removeprefix("bedrock-api-key-")).decode()
    host, _, query = text.partition("?")
    return host, parse_qsl(query)


def test_the_form_of_aws_s_own() -> None:
    """It is a request of a known form, signed ahead for its region, for a quarter of an hour of credentials whose end is unknown."""
    token, expires = bedrock_token.make("eu-west-1", "", 3600, NOW)
    host, query = parts(token)
    assert (host, expires) == ("bedrock.amazonaws.com/", NOW + 900)
    assert [name for name, _ in query] == [
        *("Action", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"),
        *("X-Amz-Security-Token", "X-Amz-Signature", "Version"),
    ]
    found = dict(query)
    assert (found["Action"], found["X-Amz-Expires"], found["Version"]) == ("CallWithBearerToken", "900", "1")
    assert found["X-Amz-Credential"].endswith("/eu-west-1/bedrock/aws4_request")
    assert "secret" not in token


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """AWS STS's answers, as botocore checks them."""
    client: Any = botocore.session.get_session().create_client("sts", region_name="eu-west-1")
    monkeypatch.setattr(clients, "make", lambda *_: client)
    with Stubber(client) as stub:
        yield stub


ROLE = "arn:aws:iam::123456789012:role/models"


def test_a_role_is_assumed(sts: Stubber) -> None:
    """With a role the token is of that role's session, and ends with it."""
    given = {
        "AccessKeyId": "ASIAEXAMPLE123456",
        "SecretAccessKey": "of-the-role",
        "SessionToken": "of-the-session",
        "Expiration": datetime.fromtimestamp(NOW + 1800, UTC),
    }
    asked = {"RoleArn": ROLE, "RoleSessionName": "keybroker-minter", "DurationSeconds": 3600}
    sts.add_response("assume_role", {"Credentials": given}, asked)
    token, expires = bedrock_token.make("eu-west-1", ROLE, 3600, NOW)
    assert expires == NOW + 1800
    assert dict(parts(token)[1])["X-Amz-Security-Token"] == "of-the-session"


def test_a_role_that_may_not_be_assumed(sts: Stubber) -> None:
    """AWS's word for it is what is said, and none of its text."""
    sts.add_client_error("assume_role", "AccessDenied", "User: arn:… is not authorized")
    with pytest.raises(MintError, match=r"^sts_AccessDenied$") as denied:
        bedrock_token.make("eu-west-1", ROLE, 3600, NOW)
    assert denied.value.denied
