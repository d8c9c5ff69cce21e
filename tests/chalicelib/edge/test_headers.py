from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge import headers as rules
from chalicelib.edge.errors import NoWebSocket
from chalicelib.edge.headers import Headers
from chalicelib.errors import Refusal
from chalicelib.providers.header_names import TOKEN_HEADERS
from chalicelib.providers.keys import ProviderKey

OAUTH = "oauth-2025-04-20"
NEVER = {
    *TOKEN_HEADERS,
    *(
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "proxy-anything",
    ),
    *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-anything", "x-real-ip"),
    *("true-client-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr"),
    *("cf-connecting-ip", "fastly-client-ip", "x-original-forwarded-for", "x-envoy-external-address"),
    *("x-azure-clientip", "x-azure-socketip", "x-host", "x-original-host", "x-original-url", "x-rewrite-url"),
    *("cloudfront-viewer-address", "cloudfront-is-mobile-viewer", "x-amzn-trace-id", "x-amzn-anything"),
    *("x-http-method-override", "x-http-method", "x-method-override"),
}
ALWAYS = ("accept", "cookie", "content-length", "via", "transfer-encoding", "accept-encoding", "openai-organization")
ALMOST = (
    "x-authorization",
    "authorizationx",
    "x-api-key-hint",
    "xx-forwarded-for",
    "x-forwarded",
    "x_organization",
    "cloudfront",
    "via2",
)


KEY = ProviderKey("v1", "https://api.example", "authorization", "Bearer ", "the-key")
Event = dict[str, list[dict[str, str]]]


def forwarded(headers: Event) -> Event:
    found = rules.forwarded(Headers.from_event(headers), KEY, "api.example", "a.b.c").to_event()
    assert found.pop("host") == [{"key": "Host", "value": "api.example"}]
    assert found.pop("authorization") == [{"key": "authorization", "value": "Bearer the-key"}]
    return found


def check(headers: Event, method: str) -> None:
    rules.check(Headers.from_event(headers), method)


_NAMES = st.sampled_from([*NEVER, *ALWAYS, *ALMOST, "anthropic-beta"]) | st.text("abcxyz-", min_size=1, max_size=8)
_FLAGS = st.lists(st.sampled_from([OAUTH, f" {OAUTH}", "a-1", " b-2 ", "", OAUTH + "-x"]), min_size=1).map(",".join)
_VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=12)
_SPELLINGS = st.sampled_from([str.lower, str.upper, str.title])


@st.composite
def header_sets(draw: st.DrawFn) -> Event:
    """Headers in CloudFront's form: a few names, each with some values, in any spelling and order."""
    found: Event = {}
    for name in draw(st.lists(_NAMES.filter(lambda one: one != "connection"), max_size=12)):
        value = draw(_FLAGS if name == "anthropic-beta" else _VALUES | _FLAGS)
        found.setdefault(name, []).append({"key": draw(_SPELLINGS)(name), "value": value})
    return found


@given(header_sets())
def test_other_headers_keep_order_and_values(headers: Event) -> None:
    """All headers go on unchanged and in order, except those that never may."""
    before = {name: [dict(one) for one in values] for name, values in headers.items()}
    found = forwarded(headers)
    assert headers == before, "what came in is left alone"
    assert not found.keys() & NEVER
    kept = {name: values for name, values in headers.items() if name not in NEVER}
    assert [name for name in kept if name in found] == list(found)
    assert {name: found[name] for name in kept if name != "anthropic-beta"} == {
        name: values for name, values in kept.items() if name != "anthropic-beta"
    }


@given(header_sets())
def test_beta_flags_keep_their_order(headers: Event) -> None:
    """The flags of `anthropic-beta` go on in order, without the OAuth flag."""

    def flags(of: Event) -> list[str]:
        return [flag.strip() for one in of.get("anthropic-beta", ()) for flag in one["value"].split(",")]

    left = [flag for flag in flags(headers) if flag != OAUTH]
    found = flags(forwarded(headers))
    assert OAUTH not in found
    assert [flag for flag in found if flag] == [flag for flag in left if flag]


@given(header_sets())
def test_forwarding_is_idempotent(headers: Event) -> None:
    """Headers that were forwarded would be forwarded again unchanged."""
    once = forwarded(headers)
    assert forwarded(once) == once


def test_headers_named_by_connection() -> None:
    """Headers named by `Connection` are dropped, except those that CloudFront keeps."""
    headers = {
        name: [{"key": name, "value": value}]
        for name, value in {"connection": "close, X-Hop ,via,content-length", "x-hop": "1", "x-other": "2"}.items()
    }
    headers |= {name: [{"key": name, "value": "3"}] for name in ("via", "content-length")}
    assert list(forwarded(headers)) == ["x-other", "via", "content-length"]


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override"])
def test_method_override(name: str) -> None:
    """A header that names another method is a 400."""
    with pytest.raises(Refusal) as caught:
        check({name: [{"key": name, "value": "POST"}, {"key": name, "value": "DELETE"}]}, "POST")
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("method_override", "invalid_request", 400)
    check({name: [{"key": name, "value": " post "}]}, "POST")


@pytest.mark.parametrize("name", ["sec-websocket-key", "sec-websocket-version"])
@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
def test_a_handshake_by_get_is_refused(name: str, method: str) -> None:
    """A door that would open a WebSocket and does not say so by the method opens none."""
    headers = {name: [{"key": name, "value": "13"}]}
    with pytest.raises(NoWebSocket):
        check(headers, method)
    check(headers, "WEBSOCKET")
    check({"sec-websocket-protocol": [{"key": "Sec-WebSocket-Protocol", "value": "realtime"}]}, method)


@given(header_sets())
def test_headers_are_read_from_events_and_written(headers: Event) -> None:
    """Headers in the form of events are the same once they were read and written."""
    assert Headers.from_event(headers).to_event() == headers


@pytest.mark.parametrize("one", [{"key": "X"}, {"key": "X", "value": 1}, {"key": None, "value": "1"}])
def test_headers_that_no_event_has_are_not_read(one: Any) -> None:  # noqa: ANN401  anything but CloudFront's
    """What is not in CloudFront's form is an error of its own kind, which the door takes for a malformed event."""
    with pytest.raises((KeyError, TypeError)):
        Headers.from_event({"x": [one]})


FLAG = (("anthropic-beta", OAUTH), ("anthropic-workspace-id", ""), ("x-goog-user-project", "ours"))


@pytest.mark.parametrize(
    ("sent", "beta"),
    [
        ([], OAUTH),
        (["a-1"], f"a-1,{OAUTH}"),
        (["a-1, b-2"], f"a-1, b-2,{OAUTH}"),
        (["a-1", "b-2"], f"a-1,b-2,{OAUTH}"),
        ([OAUTH], OAUTH),
        ([f"a-1,{OAUTH}"], f"a-1,{OAUTH}"),
    ],
)
def test_what_goes_beside_a_key(sent: list[str], beta: str) -> None:
    """A list keeps what the caller has in it and gets the key's own, once; any other header is the key's, or taken off."""
    headers: Event = {
        "accept": [{"key": "Accept", "value": "*/*"}],
        "anthropic_workspace_id": [{"key": "Anthropic_Workspace_Id", "value": "wrkspc_theirs"}],
        "x-goog-user-project": [{"key": "X-Goog-User-Project", "value": "theirs"}],
    }
    if sent:
        headers["anthropic-beta"] = [{"key": "Anthropic-Beta", "value": one} for one in sent]
    key = ProviderKey("v1", "https://api.example", "authorization", "Bearer ", "minted", 9, FLAG)
    found = rules.forwarded(Headers.from_event(headers), key, "api.example", "a.b.c")
    assert list(zip(found.names, found.values, strict=True))[-1] == ("authorization", "Bearer minted")
    got = found.to_event()
    assert [one["value"] for one in got["anthropic-beta"]] == [beta]
    assert [one["value"] for one in got["x-goog-user-project"]] == ["ours"]
    assert "accept" in got
    assert not {"anthropic-workspace-id", "anthropic_workspace_id"} & got.keys()
