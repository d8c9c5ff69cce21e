"""AWS STS vouches for this installation: over the wire, with the practice STS."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest
from aiohttp import web

from chalicelib.aws import web_identity
from chalicelib.federation.exchange import MintError
from local.practice.federation import sts
from local.practice.federation.endpoint import Fault
from tests.practice_server import serving


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[sts.StsEndpoint]:
    """The practice STS, at which botocore asks."""
    app, made = web.Application(), sts.StsEndpoint(sts.Role(), time.time)
    sts.add_routes(app, made)
    for name, value in (
        ("ACCESS_KEY_ID", sts.ACCESS_KEY_ID),
        ("SECRET_ACCESS_KEY", "x"),
        ("REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    with serving(app) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        yield made


def test_a_token_of_the_role(endpoint: sts.StsEndpoint) -> None:
    """The assertion is of the role's, for one audience, with an algorithm that the provider takes."""
    found = web_identity.assertion("https://provider.example", 3600, ("ES256", "RS256"))
    assert jwt.get_unverified_header(found)["alg"] == "RS256"
    claims = jwt.decode(found, options={"verify_signature": False})
    assert (claims["aud"], claims["sub"]) == ("https://provider.example", endpoint.role.arn)
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(("fault", "denied"), [(Fault(is_denied=True), True), (Fault(status=503), False)])
def test_no_token(endpoint: sts.StsEndpoint, fault: Fault, denied: bool) -> None:  # noqa: FBT001  a column
    """A refusal of AWS's is its word, told from an AWS that is away."""
    endpoint.faults.lasting = fault
    with pytest.raises(MintError) as caught:
        web_identity.assertion("https://provider.example", 3600, ("RS256",))
    assert caught.value.problem.startswith("sts_")
    assert caught.value.denied is denied
    assert "arn:" not in str(caught.value)
