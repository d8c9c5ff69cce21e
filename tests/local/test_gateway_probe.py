"""The measurements of gateways, over moto's tables: one of several makes each, and what it may write is a broker's own."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.admin.revocation_probe import NAME, Seen
from chalicelib.audit import Query
from chalicelib.aws import clients
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.revocation_probes import DynamoRevocationProbes
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.aws.signing import public_jwk
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.revocation import RevocationTarget
from chalicelib.tokens.jws import parse
from local.gateway_probe import Steps
from tests import moto_kms
from tests.contracts.verbs import BROKER, Keys
from tests.faulty_dynamodb import door, tables_behind
from tests.gateway_stage import REGION, GatewayStage, configured, provider, serving
from tests.local.configuration_files import faults, read
from tests.running import wait_until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayStage, str]]:
    """A stage, and the ARN of its signing key."""
    with (
        pytest.MonkeyPatch.context() as patch,
        door() as opened,
        tables_behind(opened) as tables,
        provider() as origin,
    ):
        moto_kms.mend(patch)
        name, keys = tables.control.removesuffix("-control"), Keys(tmp_path_factory.mktemp("keys"))
        made = GatewayStage(str(opened.client.meta.endpoint_url), name, tables, keys)
        made.fill(clients.make("secretsmanager", REGION), origin.origin)
        kms = clients.make("kms", REGION)
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public = public_jwk(kms, key)
        DynamoSigningKeys(tables).publish(public)
        made.adapters.control.list_signing_keys((keys.broker.kid(), public["kid"]))
        yield made, key


@pytest.mark.slow
def test_one_of_its_gateways_measures(stage: tuple[GatewayStage, str], tmp_path: Path) -> None:
    """Of two servers with broker and edge one measures each time, over its own edge; each shows it, and the audit has all."""
    of_tables, key = stage
    probes = DynamoRevocationProbes(of_tables.tables)
    ports = _free_port(), _free_port()
    texts = [
        f"metrics = '127.0.0.1:{port}'\n{configured(stage=of_tables.name, signing_key=key)}"
        "[state]\nrevocation_probe_seconds = 5\n"
        for port in ports
    ]
    began = time.monotonic()
    with serving(of_tables, tmp_path, texts[0]) as one, serving(of_tables, tmp_path, texts[1]) as two:
        wait_until(probes.revocation_probes, 30)
        (first,) = probes.revocation_probes()
        assert (first.where, first.outcome, first.open_after) == (f"gateways in {REGION}", "held", 0)
        wait_until(lambda: probes.revocation_probes()[0].at > first.at, 30)
        query = Query({"principal": f"{BROKER}|{NAME}"})
        made = DynamoLedger(of_tables.tables).page(query).events
        assert 2 <= len(made) <= 1 + (time.monotonic() - began) / 4.5, "each gateway measures for itself"
        assert {(event.kind, event.actor) for event in made} == {("revocation.made", NAME)}
        for port, doors in zip(ports, (one, two), strict=True):
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            assert "keybroker_revocation_probe_period_seconds 5" in page
            log = next(iter(doors.values())).log.read_text()
            assert "eyJ" not in log
            assert "not kept" not in log


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        return int(one.getsockname()[1])


class _Edge:
    """One whose answers are asked of the rules."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def call(self, token: str, _scope: str) -> Seen:
        self.tokens.append(token)
        return Seen.OPEN


def test_a_gateway_s_token_opens_nothing(stage: tuple[GatewayStage, str]) -> None:
    """The token names no key, grant or issuer of a policy, is refused at every key, and is revoked by its own id alone."""
    made, _ = stage
    edge, now = _Edge(), int(time.time())
    steps = Steps(edge, made.tables, made.keys.broker, BROKER, now)
    assert steps.call() is Seen.OPEN
    (token,) = edge.tokens
    claims = parse(token).unverified_claims
    assert {claims[name] for name in ("aud", "grant", "idp")} == {NAME}
    assert claims["exp"] == now + 60
    found = made.verbs.call(token, now)
    assert found is not None
    assert found.reason == "aud_wrong"
    revocations = DynamoRevocations(made.tables)
    steps.revoke()
    assert revocations.revocation_state(RevocationTarget("token", str(claims["jti"]))).blocked(now)
    assert not revocations.revocation_state(RevocationTarget("principal", f"{BROKER}|{NAME}")).epoch
    assert not revocations.revocations("", "", 10).revocations, "the list of revocations is people's"


def test_edge_alone_measures_nothing(tmp_path: Path) -> None:
    """A gateway without the broker's door cannot sign a token, and is not told to measure."""
    tables = "[tables]\nregion = 'us-east-1'\nstage = 'a-stage'\nissuer = 'https://keybroker.example.com'\n"
    edge = "[edge]\npublic_url = 'https://gateway.example.com'\n"
    told = f"{tables}{edge}[state]\nrevocation_probe_seconds = 300\n"
    assert [field for _, field in faults(tmp_path, told)] == ["state.revocation_probe_seconds"]
    assert read(tmp_path, told.replace("300", "0")).revocation_probe == 0
