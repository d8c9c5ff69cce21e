"""`serve --config` with `[tables]`: broker and edge of a deployed stage, in processes of their own over moto's tables."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from chalicelib.aws import clients
from chalicelib.aws.signing import public_jwk
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.quota import Limit
from chalicelib.tokens.jws import parse
from local import configuration, stage_command
from tests import moto_kms
from tests.contracts import samples
from tests.contracts.verbs import BROKER, Keys
from tests.faulty_dynamodb import Door, answers, door, error, tables_behind, where
from tests.gateway_stage import (
    EDGE,
    MANY,
    REGION,
    SECRET,
    Gateway,
    GatewayStage,
    Provider,
    configured,
    environment_of,
    gateway,
    provider,
    serving,
)
from tests.running import JWT, ROOT, TOKEN_EXCHANGE, Answer, call, wait_until

pytestmark = pytest.mark.slow  # each server takes seconds to start


@dataclass
class Here:
    """door: to the tables. stage: what is behind it. signing_key: in KMS. doors: what runs over it, by name."""

    door: Door
    stage: GatewayStage
    provider: Provider
    directory: Path
    signing_key: str
    doors: Mapping[str, Gateway]

    def text(self, **changes: str) -> str:
        return configured(**{"stage": self.stage.name, "signing_key": self.signing_key, **changes})

    def exchange(self, subject: str = "build-1") -> Answer:
        return exchange_at(self.doors["broker"].url, self.stage, subject)


def exchange_at(url: str, stage: GatewayStage, subject: str = "build-1") -> Answer:
    """Ask a broker for a token, as a job that can prove who it is."""
    shown = stage.verbs.subject_token(subject, int(time.time()))
    asked = {"grant_type": TOKEN_EXCHANGE, "subject_token": shown, "subject_token_type": JWT, "audience": "openai"}
    return call("POST", f"{url}/token", asked)


def in_force(stage: GatewayStage, keys: Keys, issued: tuple[Limit, ...] = MANY) -> None:
    """Put a policy in force whose issuer needs no network."""
    issuer = replace(samples.issuer(), jwks={"keys": [keys.issuer.public_jwk]})
    made = samples.grant(calls=MANY, issued=issued)
    samples.put_in_force(stage.adapters.control, made, issuers=(issuer,), at=int(time.time()))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    directory = tmp_path_factory.mktemp("serving")
    with (
        pytest.MonkeyPatch.context() as patch,
        door() as opened,
        tables_behind(opened) as tables,
        provider() as origin,
    ):
        moto_kms.mend(patch)
        name, keys = tables.control.removesuffix("-control"), Keys(directory)
        stage = GatewayStage(str(opened.client.meta.endpoint_url), name, tables, keys)
        stage.fill(clients.make("secretsmanager", REGION), origin.origin)
        kms = clients.make("kms", REGION)
        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public = public_jwk(kms, made)
        DynamoSigningKeys(tables).publish(public)
        stage.adapters.control.list_signing_keys((keys.broker.kid(), public["kid"]))
        in_force(stage, keys)
        with serving(stage, directory, configured(stage=name, signing_key=made)) as doors:
            yield Here(opened, stage, origin, directory, made, doors)


def test_its_token_opens_a_call_at_any_edge(here: Here) -> None:
    """What its broker issues, signed by KMS, is the stage's token: it opens a call at its edge, and at another gateway."""
    answer = here.exchange()
    assert answer.status == 200, answer.body
    token = answer.json["access_token"]
    assert (answer.json["base_url"], parse(token).unverified_claims["iss"]) == (f"{EDGE}/openai/v1", BROKER)
    assert here.doors["edge"].complete(token, patience=10).status == 200
    assert here.provider.seen[-1]["authorization"] == f"Bearer {SECRET}"
    with gateway(here.stage, here.directory) as other:
        assert other.complete(token, patience=10).status == 200


def test_a_token_of_the_stage_opens_a_call(here: Here) -> None:
    """What another broker of the stage issued, with another of its keys, opens a call here."""
    assert here.doors["edge"].complete(here.stage.token(), patience=10).status == 200


def test_a_limit_of_tokens_is_the_stage_s(here: Here) -> None:
    """Tokens count in the stage's own table: what another broker issued is used here."""
    in_force(here.stage, here.stage.keys, issued=(Limit(2, "day"),))
    here.stage.token("build-2")
    assert [here.exchange("build-2").status for _ in range(2)] == [200, 429]
    in_force(here.stage, here.stage.keys)


def test_a_holder_takes_a_token_back(here: Here) -> None:
    """A token that its holder revokes here is refused from the next call on, at every edge of the stage."""
    token = here.exchange().json["access_token"]
    assert here.doors["edge"].complete(token, patience=10).status == 200
    assert call("POST", f"{here.doors['broker'].url}/revoke", {"token": token}).status == 200
    assert here.doors["edge"].complete(token).status == 403


def test_a_signed_request_is_refused_here(here: Here) -> None:
    """No caller is believed for an AWS signature, and there is no administration: both stay the stage's own."""
    broker = here.doors["broker"].url
    scope = "Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/execute-api/aws4_request"
    signed = {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature={'0' * 64}"}
    for headers in ({}, signed):
        answer = call("POST", f"{broker}/token/iam", {"audience": "openai"}, headers)
        assert (answer.status, answer.json["error"]) == (403, "access_denied")
        assert "the stage's own broker" in answer.json["error_description"]
    for path in ("/admin/policy", "/admin/revocations", "/admin"):
        assert call("GET", broker + path, headers=signed).status == 404


def test_the_tables_gone_are_a_503_at_the_broker(here: Here) -> None:
    """Without its tables nothing is issued, the answer comes soon, and `/readyz` says so until they are back."""
    broker = here.doors["broker"]
    with here.door.gone():
        began = time.monotonic()
        answer = call("POST", f"{broker.url}/revoke", {"token": here.stage.token.__name__}, patience=0)
        shown = exchange_unpatiently(here)
        assert time.monotonic() - began < 10
        assert shown.status == 503
        assert answer.status in {200, 400, 503}
        wait_until(lambda: broker.ready() == (503, "state out of reach"), 20)
    wait_until(lambda: broker.ready() == (200, "ready"), 20)
    assert here.exchange().status == 200


def exchange_unpatiently(here: Here) -> Answer:
    shown = here.stage.verbs.subject_token("build-1", int(time.time()))
    asked = {"grant_type": TOKEN_EXCHANGE, "subject_token": shown, "subject_token_type": JWT, "audience": "openai"}
    return call("POST", f"{here.doors['broker'].url}/token", asked, patience=0)


def test_a_broker_of_its_own_drains(here: Here) -> None:
    """A file that names the broker alone opens it alone; at SIGTERM it is not ready, still answers, and ends with 0."""
    alone = here.text(doors="[broker]\nlisten = '127.0.0.1:0'\n", edge_url=EDGE)
    with serving(
        here.stage, here.directory, alone.replace("drain_delay_seconds = 0", "drain_delay_seconds = 3")
    ) as doors:
        assert list(doors) == ["broker"]
        broker = doors["broker"]
        assert exchange_at(broker.url, here.stage).status == 200
        broker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: broker.ready() == (503, "draining"), 10)
        assert exchange_at(broker.url, here.stage).status == 200
        assert broker.process.wait(30) == 0


def started(here: Here, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a server that cannot, and return how it ended."""
    path = here.directory / "refused.toml"
    path.write_text(text)
    command = [sys.executable, "-m", "local", "--installed", "serve", "--config", str(path), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment_of(here.stage.url), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_tables_that_are_not_there_are_one_line(here: Here, check: tuple[str, ...]) -> None:
    """A stage without tables here ends a start in one line that names table, region and AWS's word."""
    done = started(here, here.text(stage="nothing"), *check)
    assert (done.returncode, done.stdout) == (1, "")
    named = "stage_unusable (the table nothing-control in us-east-1: ResourceNotFoundException)"
    assert [line.partition("stage_unusable")[2] for line in done.stderr.splitlines()] == [
        named.partition("stage_unusable")[2]
    ]


def test_a_role_that_may_not_is_one_line(here: Here) -> None:
    """Tables that this role may not read end a start in one line, at both commands."""
    with here.door.failing(error("AccessDeniedException")):
        done = started(here, here.text())
        told = ["--region", REGION, "--stage", here.stage.name, "--issuer", BROKER, "--url", EDGE, "--port", "0"]
        other = subprocess.run(
            [sys.executable, "-m", "local", "gateway", *told],
            cwd=ROOT,
            env=environment_of(here.stage.url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    for one in (done, other):
        assert one.returncode == 1
        assert one.stderr == (
            f"error: cannot start: stage_unusable (the table {here.stage.name}-control in us-east-1: AccessDeniedException)\n"
        )


def test_a_role_that_may_not_sign_is_one_line(here: Here) -> None:
    """A key whose policy does not know this role, `Broker=true` forgotten, ends a start in one line, not each exchange."""
    denied = answers(400, '{"__type": "AccessDeniedException", "message": "as the test wants it"}')
    with here.door.failing(where(lambda turn: turn.operation == "Sign", denied)):
        done = started(here, here.text())
    assert done.returncode == 1
    named = f"the signing key {here.signing_key}: AccessDeniedException"
    assert done.stderr == f"error: cannot start: stage_unusable ({named})\n"


def test_a_key_that_is_not_live_signs_nothing(here: Here) -> None:
    """A signing key that the stage does not list, or that is not there, ends a start in one line."""
    kms = clients.make("kms", REGION)
    stranger = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    done = started(here, here.text(signing_key=stranger))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"the signing key {stranger} is no live one of this stage" in done.stderr
    nowhere = stranger.rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    done = started(here, here.text(signing_key=nowhere))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "NotFoundException" in done.stderr


def test_a_check_says_what_is_there(here: Here) -> None:
    """`--check` says the date of the prices, each table that a door uses, and the key; it opens nothing."""
    done = started(here, here.text(), "--check")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("ok: the prices that came along are of ")
    assert [line.split()[3] for line in lines[1:-1]] == [
        f"{here.stage.name}-{one}" for one in ("control", "counters", "ledger")
    ]
    assert lines[-1].endswith("is live")


def test_a_check_without_an_answer_fails(here: Here) -> None:
    """`--check` says in one line that nothing answers, within bounded time."""
    began = time.monotonic()
    with here.door.gone():
        done = started(here, here.text(), "--check")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "error: state_unavailable" in done.stderr
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "word", ["--apply", "--set-keys", "--practice", "--no-practice", "--public-url=https://a.example"]
)
def test_what_the_stage_says_is_not_said_again(here: Here, word: str) -> None:
    """Options of a state directory end the program with code 2."""
    done = started(here, here.text(), word)
    assert done.returncode == 2
    assert "not over the tables of a stage" in done.stderr


def test_no_secret_is_logged(here: Here) -> None:
    """Neither a token nor credentials are in the log, which has a line for each token issued."""
    answer = here.exchange()
    text = here.doors["broker"].log.read_text()
    assert '"outcome": "issued"' in text
    assert answer.json["access_token"] not in text
    assert "AWS_SECRET" not in text
    assert all(json.loads(line) for line in text.splitlines() if line.startswith("{"))


def test_each_door_is_told_its_own(tmp_path: Path) -> None:
    """The broker's tokens name the URL of the stage's edge if that is another, and the edge is told its own."""
    path = tmp_path / "keybroker.toml"
    key = "arn:aws:kms:us-east-1:123456789012:key/abc"
    path.write_text(
        configured(stage="prod", signing_key=key, edge_url="https://cdn.example.com", secrets_region="eu-west-1")
    )
    told = configuration.read(path)
    assert told.tables
    found = stage_command.settings(told, told.tables)
    assert found.broker
    assert (found.broker.edge_url, found.names.edge_url) == ("https://cdn.example.com", EDGE)
    assert (found.broker.ledger, found.broker.signing_key) == ("prod-ledger", key)
    assert (found.names.secrets_region, found.names.secrets_prefix) == ("eu-west-1", "prod")
    assert sorted(found.doors) == ["broker", "edge"]
