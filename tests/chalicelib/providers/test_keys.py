from __future__ import annotations

from itertools import combinations
from urllib.parse import urlsplit

import pytest

from chalicelib import patterns
from chalicelib.edge.headers import TOKEN_HEADERS
from chalicelib.providers import paths as call_path
from chalicelib.providers.keys import ProviderKey, closed, may_open, opens
from chalicelib.providers.presets import PROVIDERS
from tests.provider_vectors import examples


@pytest.mark.parametrize("name", PROVIDERS)
def test_entry_is_consistent(name: str) -> None:
    """An entry sends its key where tokens are taken off, and writes its paths in one form."""
    one = PROVIDERS[name]
    assert one.header in TOKEN_HEADERS, "a key is only ever put where tokens are taken off"
    assert set(one.token_headers) <= set(TOKEN_HEADERS)
    assert one.header in one.token_headers
    assert (one.origin is None) or urlsplit(one.origin)[2:] == ("", "", ""), "an origin is no more than a host"
    for path in (*one.closed, *(form for _, form in one.paths if form), *([one.base_path] if one.base_path else [])):
        assert path.startswith("/")
        assert not path.endswith("/")
    assert all(patterns.fault(f"GET:{path}") is None for path in one.closed)


@pytest.mark.parametrize("name", PROVIDERS)
def test_probe(name: str) -> None:
    """A probe changes nothing, and is for a path in the provider's own form."""
    one = PROVIDERS[name]
    if one.probe is None:
        assert name == "generic"
        return
    assert call_path.split(f"/{name}{one.probe.path}") == (name, one.probe.path)
    assert call_path.to_provider_form(one.probe.path, one.paths) == one.probe.path
    assert one.probe.method == "GET", "a probe changes nothing"
    assert not {header for header, _ in one.probe.headers} & set(TOKEN_HEADERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_closed_paths_are_in_provider_form(name: str) -> None:
    """A closed path is in the provider's own form; in another it would close nothing."""
    for path in PROVIDERS[name].closed:
        assert call_path.to_provider_form(path.replace("*", "x"), PROVIDERS[name].paths) == path.replace("*", "x")


@pytest.mark.parametrize("name", PROVIDERS)
def test_longer_prefix_first(name: str) -> None:
    """A longer beginning of a path is looked for first; else it would never be found."""
    theirs = [one for one, _ in PROVIDERS[name].paths]
    assert not [(a, b) for a, b in combinations(theirs, 2) if b.startswith(a + "/") or a == ""]


def test_token_in_query() -> None:
    """Only Google's clients send a key in the query."""
    assert {name: one.token_parameter for name, one in PROVIDERS.items() if one.token_parameter} == {"gemini": "key"}


@pytest.mark.parametrize(("provider", "path"), examples("closed"))
def test_closed(provider: str, path: str) -> None:
    """What mints credentials, administers the account or shows headers is closed."""
    assert closed(PROVIDERS[provider], path)


@pytest.mark.parametrize(
    "path",
    ["/v1/ORGANIZATION", "/v1/Organization/users", "/v1/organization:list", "/V1/organization", "/v1/organization/"],
)
def test_closed_in_every_spelling(path: str) -> None:
    """A closed path is closed by capitals, with a verb, with a slash and below it."""
    assert closed(PROVIDERS["openai"], path)


@pytest.mark.parametrize(("provider", "path"), examples("open"))
def test_open(provider: str, path: str) -> None:
    """What an API is for is open."""
    assert not closed(PROVIDERS[provider], path)


@pytest.mark.parametrize("path", ["/v1/organizational", "/v1/models/organization", "/v1", "/v1/chat/completions"])
def test_similar_paths_are_open(path: str) -> None:
    """A path that only resembles a closed one is open."""
    assert not closed(PROVIDERS["openai"], path)


def test_scope() -> None:
    """A scope opens a method on a path, and nothing near it."""
    scope = ("POST:/v1/chat/completions", "GET:/v1/models/*")
    assert opens(scope, "POST", "/v1/chat/completions")
    assert opens(scope, "GET", "/v1/models/gpt-5-mini")
    for method, path in (
        ("GET", "/v1/chat/completions"),
        ("post", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/models/a:b"),
    ):
        assert not opens(scope, method, path), (method, path)


def test_may_open() -> None:
    """Before the provider is known, a scope may open what some provider would make of a path."""
    assert may_open(("POST:/v1/messages",), "POST", "/messages")
    assert may_open(("POST:/openai/v1/chat/completions",), "POST", "/chat/completions")
    assert may_open(("GET:/user",), "GET", "/api/v3/user")
    assert not may_open(("POST:/v1/messages",), "GET", "/messages")
    assert not may_open(("POST:/v1/messages",), "POST", "/v1/message")
    assert not may_open((), "POST", "/messages")


def test_empty_scope() -> None:
    """An empty scope opens nothing."""
    assert not opens((), "GET", "/")
    assert not opens(("",), "GET", "/")


def test_reveal() -> None:
    """A key is revealed in the form that its header wants."""
    assert ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1").reveal() == "Bearer sk-1"
    assert ProviderKey("v1", "https://api.anthropic.com", "x-api-key", "", "sk-1").reveal() == "sk-1"


def test_key_redacts_itself() -> None:
    """A key does not show its value, however it is printed."""
    key = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1")
    assert repr(key) == "ProviderKey(version='v1', origin='https://api.openai.com', value=***)"
