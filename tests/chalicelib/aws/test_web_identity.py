"""AWS STS vouches for this installation: over the wire, with the practice STS, in a process of its own, where nothing stands in for AWS."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import jwt
import pytest
from aiohttp import web

from local.practice.federation import sts
from local.practice.federation.endpoint import Fault
from tests.practice_server import serving
from tests.running import ROOT

_PROGRAM = """
import sys
from chalicelib.aws import web_identity
from chalicelib.federation.exchange import MintError
try:
    print(web_identity.assertion("https://provider.example", 3600, sys.argv[1:]))
except MintError as error:
    print(error.problem, error.denied, str(error))
"""


@dataclass
class Asked:
    """The practice STS, and where it is."""

    endpoint: sts.StsEndpoint
    url: str

    def assertion(self, *algorithms: str) -> str:
        """What the process prints."""
        credentials = {"AWS_ACCESS_KEY_ID": sts.ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
        environ = {**os.environ, **credentials, "AWS_ENDPOINT_URL_STS": self.url}
        command = [sys.executable, "-c", _PROGRAM, *algorithms]
        return subprocess.run(
            command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True, timeout=30
        ).stdout


@pytest.fixture
def asked() -> Iterator[Asked]:
    """The practice STS."""
    app, made = web.Application(), sts.StsEndpoint(sts.Role(), time.time)
    sts.add_routes(app, made)
    with serving(app) as url:
        yield Asked(made, url)


def test_a_token_of_the_role(asked: Asked) -> None:
    """The assertion is of the role's, for one audience, with an algorithm that the provider takes."""
    found = asked.assertion("ES256", "RS256").strip()
    assert jwt.get_unverified_header(found)["alg"] == "RS256"
    claims = jwt.decode(found, options={"verify_signature": False})
    assert (claims["aud"], claims["sub"]) == ("https://provider.example", asked.endpoint.role.arn)
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(("fault", "denied"), [(Fault(is_denied=True), "True"), (Fault(status=503), "False")])
def test_no_token(asked: Asked, fault: Fault, denied: str) -> None:
    """A refusal of AWS's is its word, told from an AWS that is away."""
    asked.endpoint.faults.lasting = fault
    problem, said, *_ = asked.assertion("RS256").split()
    assert problem.startswith("sts_")
    assert said == denied
    assert "arn:" not in problem
