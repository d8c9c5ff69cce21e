"""Which path goes on to the provider: the one that was checked, and nothing that could be taken for another."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS
from tests.chalicelib.providers.test_paths import PIECES, is_stable
from tests.edge_function import HOSTS_OF_THEIR_OWN, Door, event, policy_for, provide, refusal, values
from tests.parts import Parts, parts_in

ELSEWHERE = "https://api.internal.example.com"
"""An origin for providers that have none of their own."""
BROAD = tuple(f"POST:{base}{'/*' * depth}" for base in ("/v1", "/v1beta", "/openai", "/api") for depth in range(6))
"""A scope that allows any path of at most six segments."""


@pytest.mark.parametrize(
    "uri",
    [
        "/openai/../x",
        "/openai/%2e%2e/x",
        "/openai/v1%2fx",
        "/openai/v1%3ax",
        "/openai//v1",
        "/openai/v1;x",
        "/openai/v1\x00",
        "/openai/v1%00",
        "/openai/é",
        "/openai/v1\\x",
        "/openai/v1/organization%20",
    ],
)
def test_ambiguous_path(parts: Parts, door: Door, uri: str) -> None:
    """A path that could be read in more than one way is a 400."""
    result = door.send(("Authorization", f"Bearer {parts.token()}"), uri=uri)
    assert refusal(result) == ("400", "invalid_request")
    assert door.line["reason"] == "path_ambiguous"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_forwarded_path_is_the_checked_one(tmp_path: Path, provider: str) -> None:
    """Every path that goes on is opened by the scope, not closed, and has one reading."""
    with parts_in(tmp_path) as parts:
        token = provide(parts, provider, *BROAD, origin=PROVIDERS[provider].origin or ELSEWHERE)
        door = Door(parts)
        seen = {"sent on": 0, "refused": 0}
        starts = st.sampled_from(["", "/v1", "/v1beta", "/openai/v1", "/api/v3", "/api/v1", "/models", "/V1"])
        middle = st.lists(st.tuples(st.sampled_from(["/", "", ":"]), PIECES).map("".join), max_size=5).map("".join)

        @settings(
            derandomize=True,
            deadline=None,
            max_examples=60,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(starts, middle)
        def check(start: str, rest: str) -> None:
            result = door.send(("x-api-key", token), ("Content-Type", "text/plain"), uri=f"/{provider}{start}{rest}")
            if "origin" not in result:
                seen["refused"] += 1
                assert result["status"] in ("400", "403", "404")
                return
            seen["sent on"] += 1
            path = result["uri"]
            assert paths.scope_opens(BROAD, "POST", path, PROVIDERS[provider])
            assert not paths.is_closed(PROVIDERS[provider], path)
            assert paths.to_provider_form(path, PROVIDERS[provider].paths) == path
            assert is_stable(path)

        check()
    assert min(seen.values()) > 2, "the property is tried on both kinds"


@pytest.mark.parametrize(
    ("provider", "uri", "scope"),
    [
        ("openai", "/openai/chat/completions", "POST:/v1/chat/completions"),
        ("anthropic", "/anthropic/messages", "POST:/v1/messages"),
        ("gemini", "/gemini/models/g:generateContent", "POST:/v1beta/models/*:generateContent"),
        ("groq", "/groq/v1/chat/completions", "POST:/openai/v1/chat/completions"),
        ("deepseek", "/deepseek/v1/chat/completions", "POST:/chat/completions"),
    ],
)
def test_scope_is_in_the_providers_form(parts: Parts, door: Door, provider: str, uri: str, scope: str) -> None:
    """A scope is matched with the path in the provider's form, however a client writes it."""
    token = provide(parts, provider, scope)
    result = door.send(("Authorization", f"Bearer {token}"), uri=uri)
    assert f"POST:{result['uri']}" == scope.replace("*", "g")


def test_form_of_another_provider(parts: Parts, door: Door) -> None:
    """A path that only another provider's form would open is refused, and given back."""
    token = provide(parts, "stripe", "POST:/v1/charges")
    result = door.send(("Authorization", f"Bearer {token}"), uri="/stripe/charges")
    assert refusal(result) == ("403", "insufficient_scope")
    assert door.line["reason"] == "out_of_scope"
    assert parts.counted()["minute"] == (0, 1), "it was counted as refused, and given back"


def test_narrow_token_and_other_forms(parts: Parts, door: Door) -> None:
    """A token with a narrower scope opens no more by another provider's form."""
    groq_s, own = "POST:/openai/v1/chat/completions", "POST:/v1/chat/completions"
    provide(parts, "openai", groq_s, own)
    narrow = parts.exchange(scope=frozenset({groq_s})).access_token
    assert refusal(door.send(("x-api-key", narrow), uri="/openai/chat/completions")) == ("403", "insufficient_scope")
    assert "origin" in door.send(("x-api-key", parts.token()), uri="/openai/chat/completions")


@pytest.mark.parametrize(
    ("provider", "uri"),
    [
        ("openai", "/openai/organization/admin_api_keys"),
        ("openai", "/openai/v1/Organization/admin_api_keys"),
        ("deepseek", "/deepseek/v1/user/balance"),
        ("github", "/github/api/v3/user/keys"),
        ("openrouter", "/openrouter/v1/keys"),
        ("gemini", "/gemini/auth_tokens:create"),
    ],
)
def test_closed_path_in_every_spelling(parts: Parts, door: Door, provider: str, uri: str) -> None:
    """A closed path is refused however a client writes it."""
    path = paths.to_provider_form(uri.removeprefix(f"/{provider}"), PROVIDERS[provider].paths)
    token = provide(parts, provider, f"POST:{path}")
    assert refusal(door.send(("Authorization", f"Bearer {token}"), uri=uri)) == ("403", "insufficient_scope")
    assert door.line["reason"] == "path_closed"


def test_url_too_long(parts: Parts, door: Door) -> None:
    """A URL that is too long in the provider's form is a 413."""
    token = provide(parts, "groq", "POST:/openai/v1/*")
    headers = ("Authorization", f"Bearer {token}")
    assert "origin" in door.send(headers, uri="/groq/x", query="q=" + "a" * (8191 - len("/openai/v1/x") - 2))
    result = door.send(headers, uri="/groq/x", query="q=" + "a" * (8192 - len("/openai/v1/x") - 2))
    assert refusal(result) == ("413", "invalid_request")
    assert door.line["reason"] == "url_too_long"


# the query


def test_token_in_googles_query(parts: Parts, door: Door) -> None:
    """Google's clients may send the token as `key`, which is removed from the query."""
    token = provide(parts, "gemini", "POST:/v1beta/models/g:generateContent")
    result = door.send(uri="/gemini/v1beta/models/g:generateContent", query=f"alt=sse&key={token}&b=%20&a=1&a=2")
    assert result["querystring"] == "alt=sse&b=%20&a=1&a=2"
    assert values(result, "x-goog-api-key") == ["key-of-gemini"]


def test_token_in_other_queries(parts: Parts, door: Door) -> None:
    """For other providers a token in the query is a 400, and the call is given back."""
    token = parts.token()
    for headers in ((), (("x-api-key", token),)):
        assert refusal(door.send(*headers, query=f"key={token}")) == ("400", "invalid_request")
    assert parts.counted()["minute"] == (0, 2)


@pytest.mark.parametrize(
    "query", ["access_token={}", "key={}&a={}", "{}", "a={}x", "b=1&next=https%3A%2F%2Fa.example%2F%3Ft%3D{}"]
)
@pytest.mark.parametrize("provider", ["gemini", "openai"])
def test_token_elsewhere_in_the_query(parts: Parts, door: Door, provider: str, query: str) -> None:
    """A token elsewhere in the query, which the provider would see, is a 400, also beside a header with it."""
    token = provide(parts, provider, "POST:/v1beta/models/g:generateContent")
    uri = f"/{provider}/v1beta/models/g:generateContent"
    spelt = {token, token.replace(".", "%2E")}
    for text in spelt:
        result = door.send(("x-goog-api-key", token), uri=uri, query=query.format(*[text] * 2))
        assert refusal(result) == ("400", "invalid_request")
        assert json.loads(door.log[-1])["reason"] in ("token_in_query", "two_tokens")


def test_token_in_the_path(parts: Parts, door: Door) -> None:
    """A token in the path, which the provider would see, is a 400, and the call is given back."""
    token = parts.token()
    for text in (token, f"x{token}"):
        assert refusal(door.send(("x-api-key", token), method="GET", uri=f"/openai/v1/models/{text}")) == (
            "400",
            "invalid_request",
        )
        assert json.loads(door.log[-1])["reason"] == "token_in_path"
    assert parts.counted()["minute"] == (0, 2)


def test_tokens_in_header_and_query(parts: Parts, door: Door) -> None:
    """A token in a header and another key in the query are a 400."""
    token = provide(parts, "gemini", "POST:/v1beta/models/g:generateContent")
    result = door.send(("x-goog-api-key", token), uri="/gemini/v1beta/models/g:generateContent", query="key=AIza")
    assert refusal(result) == ("400", "invalid_request")
    assert door.line["reason"] == "two_tokens"


def test_method_override(parts: Parts, door: Door) -> None:
    """A call that overrides its method, by header or query, is a 400."""
    token = ("x-api-key", parts.token())
    for result in (
        door.send(token, query="%24httpMethod=DELETE"),
        door.send(token, ("X-HTTP-Method-Override", "DELETE")),
    ):
        assert refusal(result) == ("400", "invalid_request")
    same = door.handle(event(token, ("X-HTTP-Method-Override", "POST")), None)
    assert "x-http-method-override" not in same["headers"]


def shown(content: str, content_type: str, *, is_cut: bool = False) -> dict[str, Any]:
    """A POST for the generic key as CloudFront shows it, without its token."""
    made = event(("Content-Type", content_type), uri="/generic/items/7")
    data = base64.b64encode(content.encode()).decode()
    request = made["Records"][0]["cf"]["request"]
    request["body"] = {"action": "read-only", "data": data, "encoding": "base64", "inputTruncated": is_cut}
    return made


def reason_of(door: Door, token: str, made: dict[str, Any]) -> str:
    """Send it; return why it is refused, "" if it is not."""
    made["Records"][0]["cf"]["request"]["headers"]["x-api-key"] = [{"key": "X-Api-Key", "value": token}]
    door.log.clear()
    return str(door.line["reason"]) if "status" in door.handle(made, None) else ""


def test_method_in_a_form(parts: Parts, door: Door) -> None:
    """A form or JSON body that asks for another method is refused; so is one that may, behind the cut."""
    token = provide(parts, "generic", "POST:/items/*", origin=HOSTS_OF_THEIR_OWN)
    form, as_json = "application/x-www-form-urlencoded", "application/json"
    assert reason_of(door, token, shown("a=1&_method=DELETE", form)) == "method_override"
    assert reason_of(door, token, shown('{"_method": "DELETE"}', as_json)) == "method_override"
    assert reason_of(door, token, shown("a=1", form, is_cut=True)) == "method_cut"
    assert reason_of(door, token, shown("{}", as_json, is_cut=True)) == "method_cut"
    assert reason_of(door, token, shown("a=1&method=card", form)) == ""
    assert reason_of(door, token, shown("%PDF", "application/pdf", is_cut=True)) == ""
    assert parts.counted()["minute"] == (2, 4)


def test_method_that_is_open_anyway(parts: Parts, door: Door) -> None:
    """Where token and grant open every method of the path, a body is not read for another one."""
    scope = [f"{method}:/items/*" for method in ("POST", "GET", "PUT", "PATCH", "DELETE")]
    token = provide(parts, "generic", *scope, origin=HOSTS_OF_THEIR_OWN)
    assert reason_of(door, token, shown("_method=DELETE", "application/x-www-form-urlencoded", is_cut=True)) == ""
    parts.apply(policy_for("generic", *scope[:-1]))
    made = shown("_method=DELETE", "application/x-www-form-urlencoded")
    assert reason_of(door, token, made) == "method_override", "the grant is narrower by now"


def test_uploads_to_language_models(parts: Parts, door: Door) -> None:
    """A large upload to an API that reads no method in bodies is not refused for it."""
    token = provide(parts, "openai", "POST:/v1/files")
    made = shown("a", "multipart/form-data; boundary=x", is_cut=True)
    made["Records"][0]["cf"]["request"]["uri"] = "/openai/v1/files"
    assert reason_of(door, token, made) == ""
