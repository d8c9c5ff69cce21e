from __future__ import annotations

import json

import pytest

from tests.edge_function import Door, event, refusal, values
from tests.parts import KEY_VALUE, Parts


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
def test_token_headers(parts: Parts, door: Door, name: str, prefix: str) -> None:
    """A token is found in every header in which an SDK sends its key."""
    result = door.send((name, f"{prefix}{parts.token()}"))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert not {"x-api-key", "x-goog-api-key", "api-key"} & result["headers"].keys()


def test_same_token_in_every_header(parts: Parts, door: Door) -> None:
    """The same token may be in several headers; it is removed from all of them."""
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


def test_empty_token_header(parts: Parts, door: Door) -> None:
    """An empty token header is ignored, and removed."""
    result = door.send(("Authorization", "Bearer "), ("x-api-key", parts.token()), ("api-key", ""))
    assert values(result, "authorization") == [f"Bearer {KEY_VALUE}"]
    assert "api-key" not in result["headers"]


def test_two_different_tokens(parts: Parts, door: Door) -> None:
    """Two different tokens in headers are a 400."""
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
def test_proxy_headers_are_dropped(parts: Parts, door: Door, name: str) -> None:
    """Headers that claim an address or a proxy do not go on."""
    result = door.send(("Authorization", f"Bearer {parts.token()}"), (name, "10.0.0.1"))
    assert "origin" in result
    assert name.lower() not in result["headers"]


def test_other_headers_are_untouched(parts: Parts, door: Door) -> None:
    """Every other header goes on with its spelling, its repetitions and its order."""
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
def test_anthropic_beta_oauth_flag(parts: Parts, door: Door, sent: list[str], left: list[str]) -> None:
    """`anthropic-beta` loses its OAuth flag and nothing else."""
    betas = [("anthropic-beta", value) for value in sent]
    result = door.send(("Authorization", f"Bearer {parts.token()}"), *betas)
    assert values(result, "anthropic-beta") == left
    assert ("anthropic-beta" in result["headers"]) == bool(left)
