"""What is baked into the edge's zip, and the edge that is made of it: over DynamoDB behind a door, and moto's secrets."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
import pytest

import edge
from chalicelib.aws import clients, config
from chalicelib.aws.config import EdgeConfig
from chalicelib.aws.provider_key_store import SecretsManagerKeyStore
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.errors import Refusal, Unavailable
from chalicelib.providers.keys import ProviderKey
from tests.contracts import samples
from tests.contracts.samples import NOW
from tests.contracts.verbs import BROKER
from tests.dynamodb_stage import Stage, patiently, stage
from tests.faulty_dynamodb import Fault, Turn, error, hangs

BAKED = {
    "region": "eu-central-1",
    "control": "keybroker-control",
    "counters": "keybroker-counters",
    "secrets_region": "eu-west-1",
    "secrets_prefix": "keybroker",
    "issuer": BROKER,
    "edge_url": "https://keys.example.com",
}
KEY = ProviderKey("A" * 22, "https://api.openai.com", "authorization", "Bearer ", "sk-made-up")
ROUND_TRIP = Counter({"BatchGetItem": 1, "UpdateItem": 2})


def bake(directory: Path, **changes: object) -> Path:
    path = directory / config.EDGE_FILE
    path.write_text(json.dumps({**BAKED, **changes}))
    return path


# What is baked


def test_every_member_is_read() -> None:
    read = EdgeConfig.parse(json.dumps(BAKED))
    assert read._asdict() == BAKED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("[]", "a JSON object with the members"),
        ("{}", "a JSON object with the members control, counters, edge_url, issuer"),
        (json.dumps({**BAKED, "revoked": []}), "and no others"),
        (json.dumps({**BAKED, "region": ""}), "region must be text"),
        (json.dumps({**BAKED, "control": 1}), "control must be text"),
        (json.dumps({**BAKED, "issuer": "http://broker.example.com"}), "issuer must be an https:// URL"),
        (json.dumps({**BAKED, "edge_url": "https://keys.example.com/"}), "without a slash at its end"),
        *(
            (json.dumps({one: value for one, value in BAKED.items() if one != name}), "with the members")
            for name in BAKED
        ),
    ],
)
def test_what_is_not_whole_is_refused_and_it_is_said_why(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        EdgeConfig.parse(text)
    baked = tmp_path / config.EDGE_FILE
    baked.write_text(text)
    with pytest.raises(Unavailable, match=r"^not_configured$"):
        config.edge_on_aws(baked)


def test_without_a_baked_file_every_call_is_put_off(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"Records": [{"cf": {"config": {"requestId": "request-1"}, "request": {}}}]}
    assert edge.handler(event, None)["status"] == "503"
    assert json.loads(capsys.readouterr().out)["reason"] == "not_configured"


def test_it_lies_beside_the_door() -> None:
    assert Path(edge.__file__).with_name("keybroker-edge.json") == config._BAKED


def test_the_region_is_the_baked_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables' region is the one that was baked in, whatever the environment says."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "ap-southeast-2")  # Lambda@Edge runs wherever the caller is
    made: Any = config.edge_on_aws(bake(tmp_path))[0]
    regions = {name: (one.region, one.place.host) for name, one in made.state._client._endpoints.items()}
    assert regions == {
        "dynamodb": ("eu-central-1", "dynamodb.eu-central-1.amazonaws.com"),
        "kms": ("eu-central-1", "kms.eu-central-1.amazonaws.com"),
        "secretsmanager": ("eu-west-1", "secretsmanager.eu-west-1.amazonaws.com"),
    }
    assert (made.state._control, made.state._counters) == ("keybroker-control", "keybroker-counters")
    assert (made.issuer, made.url) == (BROKER, "https://keys.example.com")


# What is made of it


@dataclass(frozen=True)
class Deployed:
    """An edge as Lambda@Edge makes it. stage: what is behind it. asked: what it asks Secrets Manager for."""

    edge: Edge
    stage: Stage
    asked: list[str]

    def call(self) -> Counter[str]:
        """Make a call; return what DynamoDB was asked for."""
        self.stage.door.arrived.clear()
        admission.admit(Call(self.stage.token, "openai", "POST", "/v1/chat/completions"), self.edge, NOW)
        arrived = self.stage.door.arrived
        self.asked.extend(one for one in arrived if one == "GetSecretValue")
        return Counter(one for one in arrived if one != "GetSecretValue")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("keys")) as one:
        one.adapters.control.set_key("openai", samples.key_version(KEY.version), samples.event("key.set"))
        secrets = SecretsManagerKeyStore(lambda: clients.make("secretsmanager", "eu-west-1"), "deployed", "alias/kb")
        secrets.put("openai", KEY)
        yield one


@pytest.fixture
def deployed(shared: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    for service in ("DYNAMODB", "SECRETS_MANAGER"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", shared.door.client.meta.endpoint_url)
    names = {"control": shared.tables.control, "counters": shared.tables.counters}
    made: Any = config.edge_on_aws(bake(tmp_path, region="us-east-1", secrets_prefix="deployed", **names))[0]
    yield Deployed(made, shared, [])
    made.state._client.close()


def test_a_warm_call_reads_no_keys(deployed: Deployed, shared: Stage) -> None:
    """A cold call reads its signing key and the provider key once, and a warm one neither."""
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    assert deployed.call() == ROUND_TRIP + Counter(["GetItem"])
    assert deployed.asked == ["GetSecretValue"]
    assert (deployed.call(), deployed.call()) == (ROUND_TRIP, ROUND_TRIP)
    assert deployed.asked == ["GetSecretValue"]


def test_what_is_done_ahead_is_not_done_by_the_call(deployed: Deployed, shared: Stage, tmp_path: Path) -> None:
    """An edge that has started ahead has its keys and connections, so that a first call is one round trip."""
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    names = {"control": shared.tables.control, "counters": shared.tables.counters}
    baked = bake(tmp_path, region="us-east-1", secrets_prefix="deployed", **names)
    shared.door.arrived.clear()
    started: Any = config.edge_on_aws(baked, ahead=True)[0]
    with contextlib.closing(started.state._client) as client:
        assert (shared.door.arrived, len(client._kept["dynamodb"]), len(client._kept["secretsmanager"])) == (
            ["GetItem"],
            3,
            1,
        )
        ahead = [one for kept in client._kept.values() for one in kept]
        one = replace(deployed, edge=started)
        assert (one.call(), one.asked) == (ROUND_TRIP, ["GetSecretValue"])
        assert {one for kept in client._kept.values() for one in kept} == set(ahead)


@pytest.mark.parametrize("fault", [hangs, error("ThrottlingException"), Turn.hang_up])
def test_what_fails_ahead_is_done_by_the_call(
    deployed: Deployed, shared: Stage, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge that could not read its keys ahead has started all the same, and its first call reads them at once."""
    monkeypatch.setattr(config, "CALL_SECONDS", 0.05)
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    names = {"control": shared.tables.control, "counters": shared.tables.counters}
    baked = bake(tmp_path, region="us-east-1", secrets_prefix="deployed", **names)
    with shared.door.failing(fault):
        started: Any = config.edge_on_aws(baked, ahead=True)[0]
    with contextlib.closing(started.state._client):
        one = replace(deployed, edge=started)
        assert one.call() == ROUND_TRIP + Counter(["GetItem"])


def test_no_secret_without_a_good_token(deployed: Deployed, shared: Stage) -> None:
    """A forged token, one past its time, one for another key and one for another path get no secret read."""
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    token = shared.token
    tries = [
        (Call(f"{token[:-9]}{'A' * 9}", "openai", "POST", "/v1/chat/completions"), NOW, "signature_wrong"),
        (Call(token, "openai", "POST", "/v1/chat/completions"), NOW + 900, "exp_past"),
        (Call(token, "other", "POST", "/v1/chat/completions"), NOW, "aud_wrong"),
        (Call(token, "openai", "DELETE", "/v1/files"), NOW, "out_of_scope"),
        (Call("", "openai", "POST", "/v1/chat/completions"), NOW, "token_missing"),
    ]
    shared.door.arrived.clear()
    for call, now, reason in tries:
        with pytest.raises(Refusal) as caught:
            admission.admit(call, deployed.edge, now)
        assert caught.value.reason == reason
    assert shared.door.arrived == ["GetItem", "UpdateItem", "UpdateItem"], (
        "the call beyond its token's scope is counted"
    )


def test_a_revoked_token_learns_nothing_of_the_secret(deployed: Deployed, shared: Stage) -> None:
    """A token that verifies and is refused gets the secret read once in a process, and none of it."""
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    token = patiently(shared.issued)
    call = Call(token, "openai", "POST", "/v1/chat/completions")
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    shared.door.arrived.clear()
    with shared.blocked("token", jti):
        for _ in range(3):
            with pytest.raises(Refusal) as caught:
                admission.admit(call, deployed.edge, NOW)
            assert caught.value.reason == "revoked_token"
            said = f"{caught.value!r}{caught.value.description}{caught.value.log_fields()}{caught.value.headers}"
            assert "made-up" not in said
    assert shared.door.arrived.count("GetSecretValue") == 1


def test_a_rotated_key_is_read_in_the_next_call(deployed: Deployed, shared: Stage) -> None:
    DynamoSigningKeys(shared.tables).publish(shared._keys.broker.public_jwk)
    deployed.call()
    secrets = SecretsManagerKeyStore(lambda: clients.make("secretsmanager", "eu-west-1"), "deployed", "alias/kb")
    secrets.put("openai", ProviderKey("B" * 22, KEY.origin, KEY.header, KEY.prefix, "sk-rotated"))
    deployed.call()
    assert deployed.asked.count("GetSecretValue") == 1
    shared.adapters.control.set_key("openai", samples.key_version("B" * 22), samples.event("key.set"))
    assert (deployed.call(), deployed.asked.count("GetSecretValue")) == (ROUND_TRIP, 2)
    shared.adapters.control.set_key("openai", samples.key_version(KEY.version), samples.event("key.set"))


def test_a_token_of_a_made_up_kid_takes_no_wave(deployed: Deployed, shared: Stage) -> None:
    header = {"typ": "at+jwt", "kid": "A" * 43}
    forged = shared._keys.issuer.begin(header, {"iss": BROKER, "aud": "openai"}).result()
    shared.door.arrived.clear()
    for _ in range(3):
        with pytest.raises(Refusal) as caught:
            admission.admit(Call(forged, "openai", "POST", "/v1/chat/completions"), deployed.edge, NOW)
        assert (caught.value.reason, caught.value.status) == ("kid_unknown", 401)
    assert shared.door.arrived == ["GetItem"]
