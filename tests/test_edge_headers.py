from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_function import Door, event, refusal, values
from tests.parts import KEY_VALUE, Parts, parts_in


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        yield made


@pytest.fixture
def door(parts: Parts) -> Door:
    return Door(parts)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Authorization", "Bearer "),
        ("authorization", "bearer "),
        ("AUTHORIZATION", "BEARER "),
        ("Authorization", "Bearer   "),
        ("Authorization", ""),
        ("X-Api-Key", ""),
        ("x-goog-api-key", ""),
        ("Api-Key", ""),
    ],
)
def test_a_token_arrives_where_sdks_put_their_key(parts: Parts, door: Door, name: str, prefix: str) -> None:
    result = door.send((name, f"{prefix}{parts.token()}"))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert not {"x-api-key", "x-goog-api-key", "api-key"} & result["headers"].keys()


def test_the_same_token_may_be_sent_in_all_four_and_all_are_taken_off(parts: Parts, door: Door) -> None:
    token = parts.token()
    result = door.send(
        ("Authorization", f"Bearer {token}"),
        ("x-api-key", token),
        ("x-goog-api-key", token),
        ("api-key", token),
        ("x-api-key", token),
    )
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert token not in json.dumps(result)


def test_an_empty_token_header_beside_a_token_does_not_count(parts: Parts, door: Door) -> None:
    result = door.send(("Authorization", "Bearer "), ("x-api-key", parts.token()), ("api-key", ""))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert "api-key" not in result["headers"]


def test_two_different_tokens_are_a_400(parts: Parts, door: Door) -> None:
    for headers in (
        (("Authorization", f"Bearer {parts.token()}"), ("x-api-key", parts.token())),
        (("x-api-key", parts.token()), ("x-api-key", parts.token())),
        (("Authorization", f"Bearer {parts.token()}"), ("Authorization", "Basic dXNlcjpwYXNz")),
    ):
        assert refusal(door.send(*headers)) == ("400", "invalid_request")
    assert {json.loads(line)["reason"] for line in door.log} == {"two_tokens"}


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "CloudFront-Viewer-Address",
        "CloudFront-Is-Mobile-Viewer",
        "X-Amzn-Trace-Id",
        "Proxy-Authorization",
    ],
)
def test_what_claims_an_address_or_a_proxy_does_not_go_on(parts: Parts, door: Door, name: str) -> None:
    result = door.send(("Authorization", f"Bearer {parts.token()}"), (name, "10.0.0.1"))
    assert "origin" in result
    assert name.lower() not in result["headers"]


def test_every_other_header_goes_on_with_its_spelling_its_repetition_and_its_order(parts: Parts, door: Door) -> None:
    others = [
        ("X-Stainless-Lang", "python"),
        ("Accept", "a/b"),
        ("accept", "c/d"),
        ("Cookie", "a=1"),
        ("Accept", ""),
        ("OpenAI-Organization", "org-1"),
        ("x-authorization", "kept"),
        ("X-Api-Key-Hint", "kept"),
        ("Origin", "null"),
    ]
    result = door.send(*others, ("Authorization", f"Bearer {parts.token()}"))
    sent = event(*others)["Records"][0]["cf"]["request"]["headers"]
    assert {name: result["headers"][name] for name in sent if name != "host"} == {
        name: found for name, found in sent.items() if name != "host"
    }
    assert [name for name in result["headers"] if name in sent] == list(sent)
    assert result["headers"].keys() - sent.keys() == {"authorization"}


OAUTH = "oauth-2025-04-20"


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ([OAUTH], []),
        ([f" {OAUTH} "], []),
        ([f"{OAUTH},a-1,b-2"], ["a-1,b-2"]),
        ([f"{OAUTH}, a-1"], ["a-1"]),
        ([f"a-1,{OAUTH},b-2"], ["a-1,b-2"]),
        ([f"a-1, {OAUTH}, b-2"], ["a-1, b-2"]),
        ([f"a-1 , b-2 ,{OAUTH}"], ["a-1 , b-2"]),
        ([f"a-1,{OAUTH}"], ["a-1"]),
        ([f"{OAUTH},{OAUTH}"], []),
        ([f"{OAUTH},"], []),
        (["a-1", OAUTH, f"b-2,{OAUTH}"], ["a-1", "b-2"]),
        ([" a-1 ,, b-2"], [" a-1 ,, b-2"]),
        ([""], [""]),
        ([f"{OAUTH}-x, x-{OAUTH}"], [f"{OAUTH}-x, x-{OAUTH}"]),
        ([], []),
    ],
)
def test_anthropic_beta_loses_its_oauth_flag_and_nothing_else(
    parts: Parts, door: Door, sent: list[str], left: list[str]
) -> None:
    betas = [("anthropic-beta", value) for value in sent]
    result = door.send(("Authorization", f"Bearer {parts.token()}"), *betas)
    assert values(result, "anthropic-beta") == left
    assert ("anthropic-beta" in result["headers"]) == bool(left)
