"""The command that publishes signing keys, over moto; what it does to a deployment is in test_wiring.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.aws import clients
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.jwks import live_keys
from chalicelib.aws.signing import Client, public_jwk
from infra import signing_keys
from tests.contracts.dynamodb_adapters import locked_moto
from tests.contracts.tables_template import create_tables


@pytest.fixture
def tables() -> Iterator[Tables]:
    made = create_tables(locked_moto(), "kbsigning")
    yield made
    for name in (made.control, made.counters, made.ledger):
        made.client.delete_table(TableName=name)


@pytest.fixture(scope="module")
def kms() -> Client:
    locked_moto()
    client = clients.make("kms", "us-east-1")
    client.list_keys()  # moto's first answer takes long
    return client


def key(kms: Client, spec: str = "ECC_NIST_P256") -> str:
    arn: str = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    return arn


def run(tables: Tables, *arguments: str) -> int:
    return signing_keys.main(["--region", "us-east-1", "--control", tables.control, *arguments])


def test_keys_are_published_and_live(
    tables: Tables,
    kms: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The keys are published and listed as live, and printed."""
    arns = [key(kms), key(kms)]
    kids = [public_jwk(kms, arn)["kid"] for arn in arns]
    assert run(tables, *arns) == 0
    assert capsys.readouterr().out.splitlines() == [f"signing key {kid}: published, live" for kid in kids]
    assert [one["kid"] for one in live_keys(tables)] == kids


def test_publishing_is_patient() -> None:
    """Publishing waits for a far region, and tries again: half a second would end a deployment half way."""
    for service in ("kms", "dynamodb"):
        config = clients.patient(service, "us-east-1").meta.config
        assert (config.connect_timeout, config.read_timeout) == (10, 30)
        assert config.retries["total_max_attempts"] == 5


def test_one_alone_can_be_listed_and_stays_so(
    tables: Tables,
    kms: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arns = [key(kms), key(kms)]
    tainted, good = (public_jwk(kms, arn)["kid"] for arn in arns)
    assert (run(tables, *arns), run(tables, f"--live={good}", *arns), run(tables, *arns)) == (0, 0, 0)
    assert [one["kid"] for one in live_keys(tables)] == [good]
    assert f"signing key {tainted}: published, NOT LISTED" in capsys.readouterr().out


def test_a_kid_of_none_of_the_keys_changes_nothing(
    tables: Tables,
    kms: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tables, "--live", "A" * 43, key(kms)) == 1
    assert capsys.readouterr().err == f"error: not among these keys: {'A' * 43}\n"
    assert live_keys(tables) == []


def test_a_key_that_signs_no_es256_is_not_published(
    tables: Tables,
    kms: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tables, key(kms, "RSA_2048")) == 1
    assert capsys.readouterr().err.startswith("error: signing_key_malformed")
    assert live_keys(tables) == []


def test_unpublished_key_verifies_nothing(tables: Tables, kms: Client) -> None:
    """A key that is listed but was never published verifies no token."""
    arns = [key(kms), key(kms)]
    assert run(tables, *arns) == 0
    kids = [public_jwk(kms, arn)["kid"] for arn in arns]
    tables.client.update_item(
        TableName=tables.control,
        Key={"pk": {"S": "signing"}, "sk": {"S": "-"}},
        UpdateExpression="REMOVE #kid",
        ExpressionAttributeNames={"#kid": f"k#{kids[0]}"},
    )
    assert [one["kid"] for one in live_keys(tables)] == kids[1:]
