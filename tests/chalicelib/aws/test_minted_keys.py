"""Minted values in DynamoDB: moto's tables and KMS, the edge's own client, and a door that goes wrong."""

from __future__ import annotations

import base64
import itertools
import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.aws import clients, minted_key_store, minted_keys, round_trip
from chalicelib.aws.data_keys import DataKeys
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.minted_key_store import MintedKeyStore
from chalicelib.aws.minted_keys import MintedKeys
from chalicelib.errors import Unavailable
from chalicelib.providers.keys import ProviderKey
from tests.contracts.dynamodb_adapters import patience
from tests.faulty_dynamodb import Door, Fault, answers, error, hangs, serves, tables_behind, where

VALUE = "sk-ant-oat01-0123456789abcdef"
BESIDE = (("anthropic-beta", "oauth-2025-04-20"), ("anthropic-workspace-id", ""))
EXPIRES = 1_803_500_000
_PREFIXES = (f"kb{number}" for number in itertools.count())


def key(version: str = "minted-a", value: str = VALUE) -> ProviderKey:
    return ProviderKey(version, "https://api.anthropic.com", "authorization", "Bearer ", value, EXPIRES, BESIDE)


KEY, OTHER = key(), key("minted-b", "sk-ant-oat01-another-0123456789")
LONG = key("minted-long", "x" * 16_384)


class Others:
    """Where versions are that were set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        self.asked.append((name, version))
        return key(version)


@dataclass
class Stage:
    """Tables and a KMS key behind a door. kms: botocore's client."""

    tables: Tables
    door: Door
    prefix: str
    kms: Any
    arn: str
    others: Others = field(default_factory=Others)

    @property
    def store(self) -> MintedKeyStore:
        return MintedKeyStore(self.tables, DataKeys(self.arn, clients.make))

    def keys(self) -> MintedKeys:
        """As another edge would have them."""
        return MintedKeys(self.door.edge_client, self.tables.control, self.prefix, self.others)

    def item(self, version: str = KEY.version, name: str = "claude") -> dict[str, Any]:
        where = minted_keys.place(name, version)
        found: dict[str, Any] = self.tables.client.get_item(TableName=self.tables.control, Key=where)["Item"]
        return found

    def write(self, item: dict[str, Any]) -> None:
        self.tables.client.put_item(TableName=self.tables.control, Item=item)


@pytest.fixture
def stage(opened: Door) -> Iterator[Stage]:
    kms: Any = clients.make("kms", "us-east-1")
    prefix = next(_PREFIXES)
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=minted_keys.kms_alias(prefix), TargetKeyId=arn)
    with tables_behind(opened) as tables, patience():
        yield Stage(tables, opened, prefix, kms, arn)


def refused(act: Callable[[], object]) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        act()
    return caught.value


# What is stored


@pytest.mark.parametrize("one", [KEY, LONG], ids=["short", "longer than KMS encrypts"])
def test_what_was_put_is_read_whole(stage: Stage, one: ProviderKey) -> None:
    """With its origin, its headers and its end."""
    stage.store.put("claude", one)
    assert stage.keys().get("claude", one.version) == one


def test_a_minted_item_shows_no_value(stage: Stage) -> None:
    """Nothing of what is sealed lies open, and it goes some minutes after its end."""
    stage.store.put("claude", KEY)
    item = stage.item()
    assert item.keys() == {"pk", "sk", "wrapped", "sealed", "expires_at"}
    assert item["expires_at"]["N"] == str(EXPIRES + minted_key_store.KEPT_SECONDS)
    shown = b"".join(one.get("B", b"") for one in item.values()) + repr(item).encode()
    assert not [one for one in (VALUE, KEY.origin, "Bearer") if one.encode() in shown]


def test_a_minted_version_is_written_once(stage: Stage) -> None:
    """Another value under the same version is refused, and the first one stays."""
    stage.store.put("claude", KEY)
    fault = refused(lambda: stage.store.put("claude", key(value="sk-another-0123456789")))
    assert fault.reason == "provider_keys_unwritable"
    assert stage.keys().get("claude", KEY.version) == KEY


def test_what_was_set_is_asked_of_the_others(stage: Stage) -> None:
    """Only a version's name decides: what does not begin as minted ones do is where set values are."""
    for version in ("A" * 22, "", "0minted-a", "Minted-a"):
        stage.keys().get("claude", version)
    assert [version for _, version in stage.others.asked] == ["A" * 22, "", "0minted-a", "Minted-a"]
    stage.store.put("claude", KEY)
    stage.keys().get("claude", KEY.version)
    assert len(stage.others.asked) == 4


# What is read


def test_a_minted_version_is_read_once(stage: Stage) -> None:
    """It takes two round trips, and none from then on; the next version takes two of its own."""
    for one in (KEY, OTHER):
        stage.store.put("claude", one)
    keys = stage.keys()
    with stage.door.failing(serves) as arrived:
        for one in (KEY, KEY, KEY, OTHER, OTHER):
            assert keys.get("claude", one.version) == one
    assert arrived == ["GetItem", "Decrypt"] * 2


def test_an_item_is_opened_in_its_own_place(stage: Stage) -> None:
    """What was sealed for a key and version opens as no other key's, and as no other version."""
    stage.store.put("claude", KEY)
    sealed = {name: stage.item()[name] for name in ("wrapped", "sealed")}
    for name, version in (("claude", OTHER.version), ("openai", KEY.version)):
        stage.write({**minted_keys.place(name, version), **sealed})
        fault = refused(lambda name=name, version=version: stage.keys().get(name, version))  # type: ignore[misc]  # mypy cannot infer a lambda's defaults
        assert fault.reason == "provider_key_unavailable"


def test_what_another_data_key_sealed_is_refused(stage: Stage) -> None:
    """A content beside another's data key does not open."""
    for one in (KEY, OTHER):
        stage.store.put("claude", one)
    stage.write({**stage.item(), "sealed": stage.item(OTHER.version)["sealed"]})
    assert refused(lambda: stage.keys().get("claude", KEY.version)).reason == "provider_key_unavailable"


@pytest.mark.parametrize("name", ["wrapped", "sealed"])
@pytest.mark.parametrize("change", ["a bit", "cut", "empty", "gone", "text"])
def test_a_tampered_item_is_refused(stage: Stage, name: str, change: str) -> None:
    stage.store.put("claude", KEY)
    item = stage.item()
    held = item.pop(name)["B"]
    changed = {"a bit": held[:-1] + bytes([held[-1] ^ 1]), "cut": held[:10], "empty": b""}
    if change == "text":
        item[name] = {"S": "not binary"}
    elif change != "gone":
        item[name] = {"B": changed[change]}
    stage.write(item)
    fault = refused(lambda: stage.keys().get("claude", KEY.version))
    assert fault.reason == "provider_key_unavailable"
    assert VALUE not in "".join(traceback.format_exception(fault))


@pytest.mark.parametrize(
    "text",
    [
        f"{VALUE}, no JSON",
        f'"{VALUE}"',
        "{}",
        *(
            json.dumps(
                {"origin": "o", "header": "h", "prefix": "", "value": VALUE, "expires": 1, "beside": [], **wrong}
            )
            for wrong in (
                {"value": None},
                {"origin": 1},
                {"expires": "1"},
                {"expires": True},
                {"beside": [["a"]]},
                {"beside": [["a", None]]},
                {"beside": None},
            )
        ),
    ],
)
def test_what_is_malformed_is_never_quoted(text: str, stage: Stage) -> None:
    """A content that is none, though it was sealed, is refused without a word of it."""
    data_key = DataKeys(stage.arn, clients.make).new(minted_keys.context("claude", KEY.version))
    sealed = bytes(12) + AESGCM(data_key.plain).encrypt(bytes(12), text.encode(), None)
    stage.write(
        {**minted_keys.place("claude", KEY.version), "wrapped": {"B": data_key.wrapped}, "sealed": {"B": sealed}}
    )
    fault = refused(lambda: stage.keys().get("claude", KEY.version))
    assert fault.reason == "provider_key_unavailable"
    assert VALUE not in "".join(traceback.format_exception(fault))


def test_a_missing_minted_version_is_refused(stage: Stage) -> None:
    """It takes one round trip, and is no other version."""
    stage.store.put("claude", KEY)
    with stage.door.failing(serves) as arrived:
        assert refused(lambda: stage.keys().get("claude", OTHER.version)).reason == "provider_key_unavailable"
    assert arrived == ["GetItem"]


# What goes wrong

_PLAIN = base64.b64encode(bytes(32)).decode()
_FAULTS: dict[str, Fault] = {
    "denied": error("AccessDeniedException"),
    "another key": error("IncorrectKeyException"),
    "disabled": error("DisabledException"),
    "500": error("KMSInternalException", 500),
    "no JSON": answers(200, f"<html>{VALUE}</html>"),
    "nothing": answers(200, "{}"),
    "another data key": answers(200, json.dumps({"Plaintext": _PLAIN})),
    "a short one": answers(200, json.dumps({"Plaintext": _PLAIN[:4]})),
    "no base64": answers(200, json.dumps({"Plaintext": "*" * 44})),
    "a number": answers(200, json.dumps({"Plaintext": 1})),
    "hangs": hangs,
}


@pytest.mark.parametrize("operation", ["GetItem", "Decrypt"])
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_minted_value_that_cannot_be_read_is_put_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: str, operation: str
) -> None:
    """Whatever table or KMS answer, in bounded time; and what failed is asked for again."""
    monkeypatch.setattr(round_trip, "ROUND_TRIP_SECONDS", 0.5)
    stage.store.put("claude", KEY)
    keys, began = stage.keys(), time.monotonic()
    with stage.door.failing(where(lambda turn: turn.operation == operation, _FAULTS[fault])):
        refusal = refused(lambda: keys.get("claude", KEY.version))
    assert (refusal.reason, refusal.status) == ("provider_key_unavailable", 503)
    assert VALUE not in "".join(traceback.format_exception(refusal))
    assert time.monotonic() - began < 3
    monkeypatch.setattr(round_trip, "ROUND_TRIP_SECONDS", 30)
    assert keys.get("claude", KEY.version) == KEY


@pytest.mark.parametrize("fault", ["denied", "500", "hangs"])
def test_what_cannot_be_stored_is_never_quoted(opened: Door, stage: Stage, fault: str) -> None:
    """Nor is it where KMS gives no data key: then nothing is written."""
    with pytest.MonkeyPatch.context() as patch, opened.failing(_FAULTS[fault]) as arrived:
        patch.setattr(clients, "CALL_SECONDS", 0.3)
        refusal = refused(lambda: stage.store.put("claude", KEY))
    assert (refusal.reason, arrived) == ("provider_keys_unwritable", ["PutItem"])
    assert VALUE not in "".join(traceback.format_exception(refusal))


def test_without_a_data_key_nothing_is_written(stage: Stage) -> None:
    """Where KMS refuses, the table is not asked."""
    store = MintedKeyStore(stage.tables, DataKeys(f"{stage.arn[:-1]}x", clients.make))
    with stage.door.failing(serves) as arrived:
        assert refused(lambda: store.put("claude", KEY)).reason == "provider_keys_unwritable"
    assert arrived == []
