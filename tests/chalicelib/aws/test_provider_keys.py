"""Provider keys in Secrets Manager: moto's, and a door that goes wrong."""

from __future__ import annotations

import itertools
import json
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.aws import clients, round_trip
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.provider_key_store import SecretsManagerKeyStore
from chalicelib.aws.provider_keys import SecretsManagerProviderKeys
from chalicelib.aws.round_trip import AwsClient
from chalicelib.errors import Unavailable
from chalicelib.providers.keys import ProviderKey
from tests.contracts.dynamodb_adapters import locked_moto
from tests.faulty_dynamodb import Door, Fault, answers, error, hangs

VALUE = "sk-real-0123456789abcdef"


def key(version: str = "A" * 22, value: str = VALUE) -> ProviderKey:
    return ProviderKey(version, "https://api.openai.com", "authorization", "Bearer ", value)


KEY, OTHER = key(), key("B" * 22, "sk-real-another")
_PREFIXES = (f"kb{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def client() -> Any:  # noqa: ANN401  botocore makes its classes as it goes
    """Moto's Secrets Manager."""
    locked_moto()
    return clients.make("secretsmanager", "us-east-1")


@pytest.fixture
def prefix() -> str:
    return next(_PREFIXES)


@pytest.fixture
def store(client: Any, prefix: str) -> SecretsManagerKeyStore:  # noqa: ANN401  as above
    return SecretsManagerKeyStore(lambda: client, prefix, "alias/keybroker")


@pytest.fixture
def keys(client: Any, prefix: str) -> SecretsManagerProviderKeys:  # noqa: ANN401  as above
    return SecretsManagerProviderKeys(BotocoreClient(client), prefix)


def at(opened: Door) -> Any:  # noqa: ANN401  as above
    """A client of what is behind the door."""
    return clients.make("secretsmanager", "us-east-1", opened.client.meta.endpoint_url)


CLIENTS: dict[str, Callable[[Door], AwsClient]] = {
    "botocore": lambda opened: BotocoreClient(at(opened)),
    "edge": lambda opened: opened.edge_client,
}


def refused(act: Callable[[], object]) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        act()
    return caught.value


# What is stored


def test_what_was_put_is_read_whole_with_origin_and_header(
    store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys
) -> None:
    store.put("openai", KEY)
    assert keys.get("openai", KEY.version) == KEY


def test_a_value_that_starts_like_its_prefix_is_kept(
    store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys
) -> None:
    odd = key(value="Bearer Bearer x")
    store.put("odd", odd)
    assert keys.get("odd", odd.version) == odd


def test_a_later_version_changes_nothing(store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys) -> None:
    """A version that is stored later leaves the one in force as it is."""
    store.put("openai", KEY)
    store.put("openai", OTHER)
    assert [keys.get("openai", one.version) for one in (KEY, OTHER, KEY)] == [KEY, OTHER, KEY]


def test_putting_the_same_again_changes_nothing(
    store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys
) -> None:
    store.put("openai", KEY)
    store.put("openai", KEY)
    assert keys.get("openai", KEY.version) == KEY


def test_a_version_never_gets_another_value(store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys) -> None:
    store.put("openai", KEY)
    fault = refused(lambda: store.put("openai", key(value="sk-another")))
    assert (fault.reason, keys.get("openai", KEY.version)) == ("provider_keys_unwritable", KEY)


def test_a_new_secret_is_encrypted_with_the_given_key(
    store: SecretsManagerKeyStore,
    client: Any,  # noqa: ANN401  as above
    prefix: str,
) -> None:
    store.put("openai", KEY)
    assert client.describe_secret(SecretId=f"{prefix}/openai")["KmsKeyId"] == "alias/keybroker"


def test_cloudtrail_names_a_version_as_the_audit_does(
    store: SecretsManagerKeyStore,
    client: Any,  # noqa: ANN401  as above
    prefix: str,
) -> None:
    store.put("openai", KEY)
    found = client.list_secret_version_ids(SecretId=f"{prefix}/openai", IncludeDeprecated=True)["Versions"]
    assert f"keybroker-{KEY.version}" in {one["VersionId"] for one in found}


# What is read


def test_each_version_is_read_once(
    store: SecretsManagerKeyStore,
    client: Any,  # noqa: ANN401  as above
    prefix: str,
) -> None:
    """Each version is requested once, and no client is made before."""
    for one in (KEY, OTHER):
        store.put("openai", one)
    asked: list[str] = []
    client.meta.events.register("before-call.secretsmanager", lambda model, **_: asked.append(model.name))
    keys = SecretsManagerProviderKeys(BotocoreClient(client), prefix)
    for one in (KEY, KEY, KEY, OTHER, OTHER):
        assert keys.get("openai", one.version) == one
    assert asked == ["GetSecretValue"] * 2


# What is asked for ahead


def ahead(keys: SecretsManagerProviderKeys, client: AwsClient) -> None:
    round_trip.make(client, *keys.ahead("openai"))


def test_a_secret_is_asked_for_ahead_once(opened: Door) -> None:
    """What is read ahead is the latest version, once for each key, whatever comes of it."""
    keys = SecretsManagerProviderKeys(opened.edge_client, "kb")
    with opened.failing(answers(200, json.dumps({"SecretString": json.dumps(_STORED)}))) as arrived:
        ahead(keys, opened.edge_client)
        assert keys.get("openai", KEY.version) == KEY
        assert (keys.ahead("openai"), arrived) == ([], ["GetSecretValue"])


def test_ahead_is_no_other_version(opened: Door) -> None:
    """If another version than the latest is in force, that one is read, and is what is cached."""
    keys = SecretsManagerProviderKeys(opened.edge_client, "kb")
    latest = {"SecretString": json.dumps({**_STORED, "version": OTHER.version, "value": "sk-real-another"})}
    with opened.failing(answers(200, json.dumps(latest))):
        ahead(keys, opened.edge_client)
    with opened.failing(answers(200, json.dumps({"SecretString": json.dumps(_STORED)}))) as arrived:
        assert keys.get("openai", KEY.version) == KEY
    assert arrived == ["GetSecretValue"]


def test_what_fails_ahead_is_read_by_its_version(opened: Door) -> None:
    """Nothing that goes wrong ahead is a refusal, and it is not tried again but by the version in force."""
    for name, fault in _FAULTS.items():
        if name == "hangs":
            continue
        keys = SecretsManagerProviderKeys(opened.edge_client, "kb")
        with opened.failing(fault) as arrived:
            ahead(keys, opened.edge_client)
            assert keys.ahead("openai") == []
        with opened.failing(answers(200, json.dumps({"SecretString": json.dumps(_STORED)}))):
            assert keys.get("openai", KEY.version) == KEY
        assert arrived == ["GetSecretValue"]


def test_a_key_that_was_never_set_is_refused_unasked(prefix: str) -> None:
    keys = SecretsManagerProviderKeys(BotocoreClient(None), prefix)
    assert refused(lambda: keys.get("openai", "")).reason == "provider_key_version"


def test_what_is_not_there_is_refused_and_is_no_other_version(
    store: SecretsManagerKeyStore, keys: SecretsManagerProviderKeys
) -> None:
    store.put("openai", KEY)
    for name, version in (("openai", OTHER.version), ("openai", KEY.version.lower()), ("anthropic", KEY.version)):
        assert refused(lambda name=name, version=version: keys.get(name, version)).reason == "provider_key_unavailable"  # type: ignore[misc]  # mypy cannot infer a lambda's defaults


_STORED = {"version": KEY.version, "origin": KEY.origin, "header": KEY.header, "prefix": KEY.prefix, "value": VALUE}


@pytest.mark.parametrize(
    "text",
    [
        f"{VALUE}, no JSON",
        f'"{VALUE}"',
        json.dumps([VALUE]),
        json.dumps({**_STORED, "version": OTHER.version}),
        *(json.dumps({**_STORED, name: None}) for name in _STORED),
        *(json.dumps({one: value for one, value in _STORED.items() if one != name}) for name in _STORED),
        "[" * 5000,
    ],
)
def test_what_cannot_be_read_is_never_quoted(
    client: Any,  # noqa: ANN401  as above
    keys: SecretsManagerProviderKeys,
    prefix: str,
    text: str,
) -> None:
    client.create_secret(Name=f"{prefix}/openai", ClientRequestToken=f"keybroker-{KEY.version}", SecretString=text)
    fault = refused(lambda: keys.get("openai", KEY.version))
    assert fault.reason == "provider_key_unavailable"
    assert VALUE not in "".join(traceback.format_exception(fault))


# What goes wrong

_FAULTS: dict[str, Fault] = {
    "denied": error("AccessDeniedException"),
    "throttled": error("ThrottlingException"),
    "decryption": error("DecryptionFailure"),
    "500": error("InternalServiceError", 500),
    "no JSON": answers(200, f"<html>{VALUE}</html>"),
    "empty": answers(200, ""),
    "no value": answers(200, "{}"),
    "hangs": hangs,
}


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_slow_key_is_refused(opened: Door, fault: str, client: str) -> None:
    """A key that cannot be read in time is requested once and refused."""
    keys = SecretsManagerProviderKeys(CLIENTS[client](opened), "kb")
    started = time.monotonic()
    with opened.failing(_FAULTS[fault]) as arrived:
        assert refused(lambda: keys.get("openai", KEY.version)).reason == "provider_key_unavailable"
    assert arrived == ["GetSecretValue"]
    assert time.monotonic() - started < 6


@pytest.mark.parametrize("client", CLIENTS)
def test_what_failed_is_asked_for_again(opened: Door, client: str) -> None:
    keys = SecretsManagerProviderKeys(CLIENTS[client](opened), "kb")
    with opened.failing(_FAULTS["500"]):
        refused(lambda: keys.get("openai", KEY.version))
    with opened.failing(answers(200, json.dumps({"SecretString": json.dumps(_STORED)}))):
        assert keys.get("openai", KEY.version) == KEY


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_that_is_kept_needs_no_secrets_manager(opened: Door, client: str) -> None:
    keys = SecretsManagerProviderKeys(CLIENTS[client](opened), "kb")
    with opened.failing(answers(200, json.dumps({"SecretString": json.dumps(_STORED)}))):
        keys.get("openai", KEY.version)
    with opened.failing(hangs) as arrived:
        assert keys.get("openai", KEY.version) == KEY
    assert arrived == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", _FAULTS)
def test_what_cannot_be_written_is_never_quoted(opened: Door, fault: str) -> None:
    store = SecretsManagerKeyStore(lambda: at(opened), "kb", "alias/keybroker")
    with opened.failing(_FAULTS[fault]) as arrived:
        refusal = refused(lambda: store.put("openai", KEY))
    assert (refusal.reason, arrived) == ("provider_keys_unwritable", ["PutSecretValue"])
    assert VALUE not in "".join(traceback.format_exception(refusal))
