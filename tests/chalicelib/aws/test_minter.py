"""The minter's function: what it mints the provider takes at the edge, what it tells, and that it tells nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.aws import minter
from chalicelib.aws.federation_jwks import published_keys
from chalicelib.aws.minter import MinterConfig, MintingFailed, measured
from chalicelib.errors import NotConfigured, StateUnavailable, Unavailable
from chalicelib.federation.notes import Asked, MintNote
from chalicelib.providers.versions import KeyInfo, KeyVersion
from local.practice.federation.endpoint import Fault
from tests.faulty_dynamodb import Door
from tests.minter_function import BROKER, FEDERATED, OTHERS, REGION, Deployed, deployed

BOTH = {"anthropic": "minted", "openai": "minted"}
ASKED = Asked("ada", "r-1")
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "KEYBROKER_DEPLOYMENT": "kb",
    "KEYBROKER_CONTROL": "kb-control",
    "KEYBROKER_LEDGER": "kb-ledger",
    "KEYBROKER_URL": BROKER,
    "KEYBROKER_MINTED_KEY": "arn:aws:kms:us-east-1:123456789012:key/minted",
}


@pytest.fixture
def here(opened: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    with deployed(opened, monkeypatch) as made:
        yield made


# What it mints


def test_what_is_minted_opens_the_provider_at_the_edge(here: Deployed) -> None:
    """At the first run each federated key gets a credential, asked for with what is published; at the next none is due."""
    assert here.run() == BOTH
    assert here.works("anthropic")
    assert here.works("openai")
    assert {one["alg"] for one in published_keys(here.tables)} == {"ES256", "RS256"}
    assert here.at_the_edge("anthropic").beside[0] == ("anthropic-beta", "oauth-2025-04-20")
    assert here.key("set").current is None
    assert here.run() == {}
    assert {one.key for one in here.events("key.minted")} == set(BOTH)


def test_every_provider_takes_what_kms_signs(here: Deployed) -> None:
    """ES256 or RS256, as each takes it, and the App's own key; the edge opens what each gave."""
    here.apply(*FEDERATED, *OTHERS)
    assert here.run() == dict.fromkeys((*FEDERATED, *OTHERS), "minted")
    for name in (*FEDERATED, *OTHERS):
        assert here.works(name), name


def test_a_credential_is_renewed_and_overlaps(here: Deployed) -> None:
    """What was in force before can still be read for calls under way."""
    here.run()
    first, version = here.at_the_edge("openai"), here.version("openai")
    here.pass_time(0.6 * (version.expires - version.at))
    assert here.run()["openai"] == "minted"
    assert here.at_the_edge("openai").value != first.value
    assert here.works("openai")


def test_the_metrics_of_a_run(here: Deployed) -> None:
    """The least part of a life that is left, how many keys a provider refuses, and that it ran."""
    here.run()
    assert here.metrics() == {"MinterHeartbeat": 1, "MintDenied": 0, "KeyExpiresIn": 100.0}
    version = here.version("anthropic")
    here.endpoints["anthropic"].faults.lasting = Fault(is_denied=True)
    here.pass_time(0.8 * (version.expires - version.at))
    assert here.run()["anthropic"] == "authentication_error"
    assert here.metrics() == {"MinterHeartbeat": 1, "MintDenied": 1, "KeyExpiresIn": 20.0}
    here.run()
    assert here.metrics()["MintDenied"] == 1, "it is refused as long as nobody has said otherwise"


def test_without_keys_of_the_issuer_the_rest_goes_on(here: Deployed) -> None:
    """KMS away: nothing of our own issuer is minted, each key says so, and the run ends as any other."""
    here.config = here.config._replace(federation_keys=(f"{here.config.federation_keys[0][:-1]}x",))
    assert here.run() == dict.fromkeys(("", "anthropic", "openai"), "signing_unavailable")
    assert here.metrics()["MinterHeartbeat"] == 1


def test_without_the_tables_there_is_no_heartbeat(here: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    function = here.function()
    monkeypatch.setattr(function.keys, "known_keys", lambda: (_ for _ in ()).throw(StateUnavailable()))
    with pytest.raises(Unavailable):
        minter.run(function, here.lines.append)
    assert not any("MinterHeartbeat" in line for line in here.lines)


# Trials


@pytest.mark.slow
def test_a_trial_keeps_nothing(here: Deployed) -> None:
    """It answers when the credential would end, or why there is none; nothing of it is stored but an event each."""
    for name in ("openai", "anthropic"):
        tried = minter.trial(here.function(), name, ASKED)
        assert tried.expires > here.clock()
        assert tried.problem == ""
        assert here.key(name).current is None
    here.endpoints["openai"].faults.lasting = Fault(is_denied=True)
    tried = minter.trial(here.function(), "openai", ASKED)
    assert (tried.expires, tried.denied) == (0, True)
    assert tried.problem
    assert minter.trial(here.function(), "set", ASKED).problem == "key_not_federated"
    assert minter.trial(here.function(), "unknown", ASKED).problem == "no_such_key"
    assert here.events("key.minted") == here.events("key.mint_denied") == []
    events = here.events("key.mint_tried")
    assert sorted((one.key, "expires" in one.detail, "why" in one.detail) for one in events) == [
        ("anthropic", True, False),
        ("openai", False, True),
        ("openai", True, False),
    ]
    assert {(one.actor, one.request_id) for one in events} == {ASKED}
    assert all(len(one.detail["assertion"]) >= 16 for one in events)


def test_a_trial_that_works_has_the_next_run_mint(here: Deployed) -> None:
    """After a denial that was mended nobody waits for the five minutes to pass."""
    here.endpoints["openai"].faults.lasting = Fault(is_denied=True)
    here.run()
    here.endpoints["openai"].faults.lasting = Fault()
    assert here.run() == {}
    assert minter.trial(here.function(), "openai", ASKED).problem == ""
    assert here.run() == {"openai": "minted"}


def test_the_door_answers_a_trial_as_json(here: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A direct invocation gets a Trial; any other event is a run."""
    monkeypatch.setattr(minter, "_function", lambda _config: here.function())
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    answer = minter.handler({"try": "openai", "actor": "ada", "request_id": "r-1"}, None)
    assert answer is not None
    assert [(one.actor, one.request_id) for one in here.events("key.mint_tried")] == [("ada", "r-1")]
    assert json.loads(json.dumps(answer))["expires"] > here.clock()
    assert minter.handler({"source": "aws.events"}, None) is None
    assert here.works("openai")


# What it tells


def test_nothing_minted_is_in_the_log(here: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    """No value, no assertion and no answer of a provider; a line has a key's name and a word."""
    sent: list[str] = []
    real = Deployed.ask

    def ask(*asked: Any) -> Any:  # noqa: ANN401  as fetch has it
        answer = real(here, *asked)
        sent.extend([asked[3].decode(), answer[2].decode()])
        return answer

    here.ask = ask  # type: ignore[assignment, method-assign]  # to see what goes over the wire
    here.run()
    minter.trial(here.function(), "openai", ASKED)
    secrets = [here.at_the_edge(name).value for name in BOTH]
    for text in sent:
        said = json.loads(text)
        secrets += [said[name] for name in ("assertion", "subject_token", "access_token") if name in said]
    assert len(set(secrets)) == 6
    told = (
        "".join(here.lines) + "".join(capsys.readouterr()) + str([one.to_json() for one in here.events("key.minted")])
    )
    stored = json.dumps(here.tables.client.scan(TableName=here.tables.control)["Items"], default=repr)
    assert not [one for one in secrets if one in told or one in stored or one[-40:] in told + stored]


def test_a_fault_is_no_text_in_the_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is raised leaves its kind, neither its text nor its cause: Lambda would log them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for fault, reason in ((ValueError("sk-quoted"), "ValueError"), (StateUnavailable(), "state_unavailable")):

        def fails(_config: MinterConfig, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(minter, "_function", fails)
        with pytest.raises(MintingFailed) as caught:
            minter.handler({}, None)
        assert (str(caught.value), caught.value.__cause__, caught.value.__suppress_context__) == (reason, None, True)
        assert json.loads(capsys.readouterr().out)["reason"] == reason


# What it is told


def test_every_variable_is_read() -> None:
    read = MinterConfig.read({**ENVIRONMENT, "KEYBROKER_FEDERATION_KEYS": "arn:a, arn:b"})
    assert read == MinterConfig(
        REGION, "kb", "kb-control", "kb-ledger", BROKER, ENVIRONMENT["KEYBROKER_MINTED_KEY"], ("arn:a", "arn:b")
    )
    assert MinterConfig.read({**ENVIRONMENT, "KEYBROKER_FEDERATION_KEYS": ""}).federation_keys == ()


@pytest.mark.parametrize(
    "change", [*({name: ""} for name in ENVIRONMENT), {"KEYBROKER_URL": f"{BROKER}/"}, {"KEYBROKER_URL": "http://b"}]
)
def test_a_missing_variable_is_named(change: dict[str, str]) -> None:
    with pytest.raises(NotConfigured) as caught:
        MinterConfig.read({**ENVIRONMENT, **change})
    assert next(iter(change)).removeprefix("AWS_") in caught.value.hint


# The numbers


def key(name: str, version: KeyVersion | None, *, federated: bool = True) -> KeyInfo:
    return KeyInfo(name, "openai", version, federated={"identity": "broker"} if federated else None)


def version(minted_for: str = "x", expires: int = 2000) -> KeyVersion:
    return KeyVersion("v", "o", "h", "minter", 1000, expires=expires, minted_for=minted_for)


def test_the_least_life_that_is_left() -> None:
    """Of federated keys alone; one that was never minted, or still has a value that was set, has nothing left."""
    assert measured([], {}, 1000) == {"MinterHeartbeat": 1, "MintDenied": 0}
    assert "KeyExpiresIn" not in measured([key("a", version(), federated=False)], {}, 1000)
    for now, left in ((1000, 100.0), (1500, 50.0), (1751, 24.9), (2500, 0.0)):
        assert measured([key("a", version()), key("b", version(expires=3000))], {}, now)["KeyExpiresIn"] == left
    for none in (None, version(""), version(expires=0)):
        assert measured([key("a", version()), key("b", none)], {}, 1000)["KeyExpiresIn"] == 0.0


def test_who_is_refused_is_counted() -> None:
    """A provider that was away refuses nobody, and a key that the policy has no more is none."""
    notes = {name: MintNote(name, 1, "no", name != "away", 1, 2) for name in ("a", "away", "gone")}
    assert measured([key("a", None), key("away", None), key("b", None)], notes, 1000)["MintDenied"] == 1
