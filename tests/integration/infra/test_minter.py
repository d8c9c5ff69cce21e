"""The minter as deployed, under its own role: Bedrock's token, for which no provider is asked, from STS to the edge's zip."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests import aws_scenario
from tests.integration.infra.installation import BEDROCK, HOME, PREFIX, Installation, Signer

POLICY = (
    aws_scenario.policy().replace(
        "keys: {",
        f"keys: {{bedrock: {{provider: bedrock, federated: {{region: {HOME}, role: '{BEDROCK}'}}}}, ",
    )
    + """\
  models:
    key: bedrock
    to: {issuer: ci, claims: {sub: build-1}}
    scope: ["POST:/model/*/invoke"]
    quota: {tokens: 100/hour, calls: 100/minute}
"""
)


@pytest.fixture(scope="module")
def log(installed: Installation, administrator: Signer) -> str:
    """A federated key is in force, whose role there is; what the minter wrote as it ran once."""
    installed.role(BEDROCK.rpartition("/")[2])
    version = installed.ask("admin", "GET /admin/policy", None, administrator).headers["etag"]
    put = installed.ask("admin", "PUT /admin/policy", {"text": POLICY}, administrator, if_match=version)
    assert put.status == 200, put.body
    answer = installed.client("lambda").invoke(FunctionName=f"{PREFIX}-minter", LogType="Tail", Payload=b"{}")
    printed = base64.b64decode(answer.get("LogResult", "")).decode()
    assert "FunctionError" not in answer, answer["Payload"].read().decode() + printed
    return printed


def sent_on(installed: Installation) -> str:
    """Return the credential of a call that the edge's zip sends on."""
    wanted = {**aws_scenario.wanted(), "audience": "bedrock"}
    answer = installed.ask("public", "POST /token", wanted)
    assert answer.status == 200, answer.body
    event = aws_scenario.edge_event(answer.json["access_token"], "/bedrock/model/amazon.nova-lite-v1:0/invoke")
    (sent,) = installed.call(event)
    assert "origin" in sent, sent
    assert sent["origin"]["custom"]["domainName"] == f"bedrock-runtime.{HOME}.amazonaws.com"
    return str(sent["headers"]["authorization"][0]["value"])


def test_what_the_minter_stored_the_edge_opens(installed: Installation, log: str) -> None:
    """It assumes the role, seals the token with KMS and puts it in force; the edge's role alone unwraps it."""
    assert '"key": "bedrock", "reason": "minted"' in log
    scheme, _, value = sent_on(installed).partition(" ")
    assert (scheme, value[:16]) == ("Bearer", "bedrock-api-key-")
    signed = base64.b64decode(value[16:]).decode()
    assert signed.startswith("bedrock.amazonaws.com/?Action=CallWithBearerToken&")
    assert value not in log


def test_it_measures_what_is_left(log: str) -> None:
    """One line of metrics: that it ran, that nobody was refused, how much of a life is left."""
    (told,) = (json.loads(line) for line in log.splitlines() if "MinterHeartbeat" in line)
    assert (told["service"], told["MinterHeartbeat"], told["MintDenied"]) == (PREFIX, 1, 0)
    assert 90 < told["KeyExpiresIn"] <= 100


def test_its_issuer_is_published(installed: Installation, log: str) -> None:
    """The public API serves what the minter published, both keys of KMS, and never those that sign tokens."""
    assert log
    found = installed.ask("public", "GET /federation/jwks").json["keys"]
    tokens = installed.ask("public", "GET /.well-known/jwks.json").json["keys"]
    assert {one["alg"] for one in found} == {"ES256", "RS256"}
    assert not {one["kid"] for one in found} & {one["kid"] for one in tokens}


def test_it_is_told_of_its_key(installed: Installation, administrator: Signer, log: str) -> None:
    """Administration says what minted it and when that ends, and the audit has one event of it."""
    assert log
    keys = installed.ask("admin", "GET /admin/keys", None, administrator).json["items"]
    (key,) = (one for one in keys if one["name"] == "bedrock")
    assert (key["federated"]["role"], key["author"]) == (BEDROCK, "minter")
    assert time.time() < key["expires"] <= time.time() + 3600
    events = installed.ask("admin", "GET /admin/audit?kind=key.minted", None, administrator).json["items"]
    assert [one["key"] for one in events] == ["bedrock"]
    assert "bedrock-api-key-" not in json.dumps([key, events])
