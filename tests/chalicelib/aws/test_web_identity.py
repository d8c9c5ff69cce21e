"""AWS STS vouches for this installation: over the wire, with the practice STS, in a process of its own, where nothing stands in for AWS."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from aiohttp import web

from chalicelib.aws import web_identity
from chalicelib.aws.kms_means import KmsMeans
from chalicelib.providers.versions import KeyInfo
from local.minting import LocalMeans
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


def test_its_id_is_known(asked: Asked) -> None:
    """The id of the token is read from it, for the audit."""
    found = asked.assertion("RS256").strip()
    jti = jwt.decode(found, options={"verify_signature": False})["jti"]
    assert web_identity.unverified_jti(found) == jti


def test_the_minter_is_told_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine and on AWS alike, the id of AWS's assertion is in the event of what it minted."""
    token, told = jwt.encode({"jti": "id-1"}, "k" * 32, "HS256"), list[str]()
    monkeypatch.setattr(web_identity, "assertion", lambda *_asked: token)
    info = KeyInfo("openai", "openai", None, federated={"identity": "aws-sts"})
    parts: Any = SimpleNamespace(region="us-east-1", practice=None)
    for made in (KmsMeans(info, told.append, parts), LocalMeans(info, told.append, parts)):
        assert made.assertion("https://api.openai.com/v1", 3600, ("RS256",)) == token
    assert told == ["id-1", "id-1"]


@pytest.mark.parametrize("jti", ["", "a b", "a\n", "é", "x" * 101, 1, None, ["a"]])
def test_what_is_no_id_is_not_shown(jti: object) -> None:
    """An id is a short plain word; anything else is left out of the audit."""
    payload = base64.urlsafe_b64encode(json.dumps({"jti": jti}).encode()).decode().rstrip("=")
    assert web_identity.unverified_jti(f"e30.{payload}.e30") == ""


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.é.c", "a.W10.c", "a." + "A" * 100_000, "." * 100_000])
def test_what_is_no_token_has_no_id(token: str) -> None:
    """Whatever AWS answered, reading its id raises nothing."""
    assert web_identity.unverified_jti(token) == ""
