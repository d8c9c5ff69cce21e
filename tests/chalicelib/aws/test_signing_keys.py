"""The public keys of our own tokens in DynamoDB, behind a door that sees every request arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.published_keys import FAILURE_PAUSE, PublishedSigningKeys
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import Unavailable
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.issued import UNKNOWN_KID_PAUSE
from local.signing_key_file import SigningKeyFile
from tests.contracts.dynamodb_adapters import locked_moto
from tests.contracts.samples import NOW
from tests.faulty_dynamodb import Door, answers, error, hangs, tables_behind

MADE_UP = [f"{number:043d}" for number in range(100)]
"""Kids as long as a thumbprint."""


@pytest.fixture
def tables(opened: Door) -> Iterator[Tables]:
    with tables_behind(opened) as made:
        yield made


@pytest.fixture
def keys(tables: Tables) -> DynamoSigningKeys:
    return DynamoSigningKeys(tables)


def new_key(directory: Path, name: str = "a") -> Mapping[str, str]:
    return SigningKeyFile.create(directory / f"{name}.pem").public_jwk


def write(tables: Tables, kid: str, text: str) -> None:
    """Put something into the attribute of a kid."""
    locked_moto().update_item(
        TableName=tables.control,
        Key={"pk": {"S": "signing"}, "sk": {"S": "-"}},
        UpdateExpression="SET #kid = :jwk",
        ExpressionAttributeNames={"#kid": f"k#{kid}"},
        ExpressionAttributeValues={":jwk": {"S": text}},
    )


def reason(keys: PublishedSigningKeys, kid: str, now: int = NOW) -> str:
    try:
        keys.find(kid, now)
    except InvalidTokenError as invalid:
        return invalid.reason
    except Unavailable as unavailable:
        return f"503 {unavailable.reason}"
    raise AssertionError(f"{kid} was found")


def test_a_published_key_is_found_by_one_read_and_kept(
    opened: Door, tables: Tables, keys: DynamoSigningKeys, tmp_path: Path
) -> None:
    jwk = new_key(tmp_path)
    keys.publish(jwk)
    reader = DynamoSigningKeys(tables)
    opened.arrived.clear()
    found = [reader.find(jwk["kid"], NOW + day * 86400) for day in range(3)]
    assert (found[0].kid, found[0].algorithm, opened.arrived) == (jwk["kid"], "ES256", ["GetItem"])
    assert found[0] is found[2]


def test_one_read_finds_all_keys(opened: Door, tables: Tables, keys: DynamoSigningKeys, tmp_path: Path) -> None:
    kids = []
    for name in ("a", "b"):
        jwk = new_key(tmp_path, name)
        keys.publish(jwk)
        keys.publish(jwk)
        kids.append(jwk["kid"])
    reader = DynamoSigningKeys(tables)
    opened.arrived.clear()
    assert [reader.find(kid, NOW).kid for kid in kids] == kids
    assert opened.arrived == ["GetItem"]


def test_made_up_kids_cost_one_read_in_ten_seconds(opened: Door, keys: DynamoSigningKeys) -> None:
    opened.arrived.clear()
    for second in (0, 0, UNKNOWN_KID_PAUSE - 1, UNKNOWN_KID_PAUSE):
        assert {reason(keys, kid, NOW + second) for kid in MADE_UP} == {"kid_unknown"}
    assert opened.arrived == ["GetItem"] * 2
    assert UNKNOWN_KID_PAUSE == 10


def test_made_up_kids_do_not_keep_a_known_key_from_being_found(
    opened: Door, tables: Tables, keys: DynamoSigningKeys, tmp_path: Path
) -> None:
    jwk = new_key(tmp_path)
    keys.publish(jwk)
    reader = DynamoSigningKeys(tables)
    assert {reason(reader, kid) for kid in MADE_UP} == {"kid_unknown"}
    opened.arrived.clear()
    assert reader.find(jwk["kid"], NOW).kid == jwk["kid"]
    assert opened.arrived == []


def test_a_later_key_is_found_after_the_pause(tables: Tables, keys: DynamoSigningKeys, tmp_path: Path) -> None:
    """A key that is published later is found once the pause is over."""
    reader, jwk = DynamoSigningKeys(tables), new_key(tmp_path)
    assert reason(reader, jwk["kid"]) == "kid_unknown"
    keys.publish(jwk)
    assert reason(reader, jwk["kid"], NOW + UNKNOWN_KID_PAUSE - 1) == "kid_unknown"
    assert reader.find(jwk["kid"], NOW + UNKNOWN_KID_PAUSE).kid == jwk["kid"]


def test_a_pause_ends_though_a_clock_was_ahead(tables: Tables, keys: DynamoSigningKeys, tmp_path: Path) -> None:
    """A read under a clock that was an hour ahead does not put off the next one for an hour."""
    reader, jwk = DynamoSigningKeys(tables), new_key(tmp_path)
    assert reason(reader, jwk["kid"], NOW + 3600) == "kid_unknown"
    keys.publish(jwk)
    assert reader.find(jwk["kid"], NOW).kid == jwk["kid"]


def test_a_key_that_is_not_what_its_kid_says_is_not_used(tables: Tables, tmp_path: Path) -> None:
    ours, stranger = new_key(tmp_path, "a"), new_key(tmp_path, "b")
    write(tables, ours["kid"], json.dumps({**stranger, "kid": ours["kid"]}))
    write(tables, "kid-1", json.dumps({**ours, "kid": "kid-1"}))
    reader = DynamoSigningKeys(tables)
    assert [reason(reader, kid) for kid in (ours["kid"], stranger["kid"], "kid-1")] == ["kid_unknown"] * 3


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "null", '"text"', "{}", '{"kty": "oct", "k": "c2VjcmV0"}', "[" * 5000]
)
def test_what_is_no_key_is_passed_over_and_hides_no_other(
    tables: Tables, keys: DynamoSigningKeys, tmp_path: Path, text: str
) -> None:
    jwk = new_key(tmp_path)
    write(tables, MADE_UP[0], text)
    keys.publish(jwk)
    assert reason(keys, MADE_UP[0]) == "kid_unknown"
    assert keys.find(jwk["kid"], NOW).kid == jwk["kid"]


@pytest.mark.parametrize("item", [7, [], "text", None])
def test_what_is_no_item_is_unread(opened: Door, tables: Tables, item: object) -> None:
    """An answer in another shape is a 503, no fault of ours."""
    with opened.failing(answers(200, json.dumps({"Item": item}))):
        assert reason(PublishedSigningKeys(opened.edge_client, tables.control), MADE_UP[0]) == "503 state_unread"


@pytest.mark.parametrize("value", [{"N": "7"}, {"S": 7}, {}, 7, None])
def test_a_key_of_another_type_hides_no_other(opened: Door, tables: Tables, tmp_path: Path, value: object) -> None:
    jwk = new_key(tmp_path)
    item = {f"k#{MADE_UP[0]}": value, f"k#{jwk['kid']}": {"S": json.dumps(jwk)}}
    with opened.failing(answers(200, json.dumps({"Item": item}))):
        reader = PublishedSigningKeys(opened.edge_client, tables.control)
        assert reader.find(jwk["kid"], NOW).kid == jwk["kid"]


@pytest.mark.parametrize("change", [{"use": "enc"}, {"key_ops": ["sign"]}, {"alg": "ES384"}, {"x": "AAAA"}])
def test_a_key_that_breaks_a_rule_of_keys_is_not_used(
    tables: Tables, keys: DynamoSigningKeys, tmp_path: Path, change: Mapping[str, object]
) -> None:
    jwk = new_key(tmp_path)
    write(tables, jwk["kid"], json.dumps({**jwk, **change}))
    assert reason(keys, jwk["kid"]) == "kid_unknown"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [error("ThrottlingException"), error("AccessDeniedException"), answers(200, ""), answers(500, "<html>"), hangs],
    ids=["throttled", "denied", "empty", "500", "hangs"],
)
def test_unreadable_keys_put_a_call_off(
    opened: Door, tables: Tables, keys: DynamoSigningKeys, tmp_path: Path, fault: object
) -> None:
    """While keys cannot be read, a call is a 503, and one read is tried each second."""
    jwk = new_key(tmp_path)
    keys.publish(jwk)
    reader = DynamoSigningKeys(tables)
    with opened.failing(fault) as arrived:  # type: ignore[arg-type]  # parametrize has no types
        assert reason(reader, jwk["kid"]) == "503 state_unavailable"
        assert {reason(reader, kid) for kid in (jwk["kid"], *MADE_UP)} == {"503 signing_keys_unavailable"}
        assert reason(reader, jwk["kid"], NOW + FAILURE_PAUSE) == "503 state_unavailable"
    assert arrived == ["GetItem"] * 2
    assert reader.find(jwk["kid"], NOW + 2 * FAILURE_PAUSE).kid == jwk["kid"]


def test_a_known_key_needs_no_table(opened: Door, tables: Tables, keys: DynamoSigningKeys, tmp_path: Path) -> None:
    jwk = new_key(tmp_path)
    keys.publish(jwk)
    reader = DynamoSigningKeys(tables)
    reader.find(jwk["kid"], NOW)
    with opened.gone():
        assert reason(reader, MADE_UP[0], NOW + UNKNOWN_KID_PAUSE) == "503 state_unavailable"
        assert reader.find(jwk["kid"], NOW + UNKNOWN_KID_PAUSE).kid == jwk["kid"]


def test_a_key_that_was_not_published_is_told(tables: Tables, keys: DynamoSigningKeys, tmp_path: Path) -> None:
    nowhere = DynamoSigningKeys(tables._replace(control="no-such-table"))
    with pytest.raises(Unavailable, match=r"^state_unavailable$"):
        nowhere.publish(new_key(tmp_path))
    assert reason(keys, MADE_UP[0]) == "kid_unknown"
