from __future__ import annotations

import json

import pytest

from tests import cgi
from tests.edge_function import HOSTS_OF_THEIR_OWN, Door, event, provide, refusal, values
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


@pytest.mark.parametrize(
    ("name", "value"), [("Cookie", "a=1; kb={}"), ("Referer", "https://a.example/?t={}"), ("X-Mine", "{}")]
)
def test_token_in_another_header(parts: Parts, door: Door, name: str, value: str) -> None:
    """A header that holds the token as well is not sent on; another value of it is."""
    token = parts.token()
    result = door.send(("Authorization", f"Bearer {token}"), (name, value.format(token)), (name, "b=2"))
    assert values(result, name.lower()) == ["b=2"]
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


def spelled(name: str) -> list[str]:
    """A header's name as some server takes it for the same."""
    return [name, name.replace("-", "_"), name.replace("-", "."), name.title().replace("-", "_"), name.upper()]


@pytest.mark.parametrize("own", ["x-vendor-key", "x_vendor_key", "x-api-key", "authorization"])
def test_one_header_in_every_spelling(parts: Parts, door: Door, own: str) -> None:
    """A server that folds and joins headers reads exactly our key, whatever else a caller sends."""
    token = provide(parts, "generic", "GET:/items", origin=HOSTS_OF_THEIR_OWN, header=own)
    named = ["authorization", "x-api-key", "x-goog-api-key", "api-key"]
    sent = [(name, token) for one in named for name in spelled(one)]
    sent += [(name, "mine") for name in spelled("x-vendor-key") if "vendor" in own]
    result = door.send(*sent, uri="/generic/items", method="GET")
    seen = cgi.variables(result["headers"])
    assert seen["HTTP_" + own.upper().replace("-", "_")] == "key-of-generic"
    assert token not in json.dumps(result)
    assert "mine" not in json.dumps(result)
    assert len(result["headers"]) == 2, "the other is the host"


@pytest.mark.parametrize("name", spelled("x-http-method-override") + spelled("x-http-method") + ["X-Method_Override"])
def test_override_in_every_spelling(parts: Parts, door: Door, name: str) -> None:
    """A header that overrides the method is refused in every spelling; one that repeats it is taken off."""
    bearer = ("Authorization", f"Bearer {parts.token()}")
    assert refusal(door.send(bearer, (name, "DELETE"))) == ("400", "invalid_request")
    assert door.line["reason"] == "method_override"
    assert name.lower() not in door.send(bearer, (name, "POST"))["headers"]


@pytest.mark.parametrize(
    "name",
    [
        *("X_Forwarded_For", "x.forwarded.host", "X_Real_IP", "True_Client-IP", "CloudFront_Viewer_Address", "Proxy"),
        *("X_Amzn_Trace_Id", "x_amz_cf_id", "X_Edge_Location", "Proxy_Authorization", "Keep_Alive", "X_Original_URL"),
        *("Content_Length", "Transfer_Encoding", "content.type", "Content_Encoding", "If_None_Match", "CDN_Loop"),
    ],
)
def test_dropped_in_every_spelling(parts: Parts, door: Door, name: str) -> None:
    """What is dropped, or belongs to the body's framing, does not go on in another spelling."""
    result = door.send(("Authorization", f"Bearer {parts.token()}"), (name, "chunked"))
    assert "origin" in result
    assert "chunked" not in json.dumps(result["headers"])


def test_flag_in_every_spelling(parts: Parts, door: Door) -> None:
    """The OAuth flag is taken out of `anthropic_beta`, too."""
    result = door.send(("Authorization", f"Bearer {parts.token()}"), ("Anthropic_Beta", f"{OAUTH},a-1"))
    assert values(result, "anthropic_beta") == ["a-1"]


@pytest.mark.parametrize("name", ["x key", "x(y)", "x:y", "", "x/y", "caf\xe9", "x\x00", "\u212ay", "x\n"])
def test_no_name(parts: Parts, door: Door, name: str) -> None:
    """A header whose name is none is refused."""
    assert refusal(door.send(("Authorization", f"Bearer {parts.token()}"), (name, "1"))) == ("400", "invalid_request")
    assert door.line["reason"] == "header_name"


@pytest.mark.parametrize("own", ["accept-encoding", "accept_encoding", "Via"])
def test_key_in_a_fixed_header(parts: Parts, door: Door, own: str) -> None:
    """A key in a header that the edge cannot take off a call does not go on, and no number is used up."""
    token = provide(parts, "generic", "GET:/items", origin=HOSTS_OF_THEIR_OWN, header=own)
    result = door.send(("Authorization", f"Bearer {token}"), uri="/generic/items", method="GET")
    assert (result["status"], door.line["reason"]) == ("503", "provider_key_header")
    assert (result["headers"]["x-should-retry"][0]["value"], "retry-after" in result["headers"]) == ("false", False)
