"""Which paths no grant opens, and which ones a scope opens."""

from __future__ import annotations

import pytest

from chalicelib.providers.paths import is_closed, scope_may_open, scope_opens
from chalicelib.providers.presets import PROVIDERS
from tests.provider_vectors import examples


@pytest.mark.parametrize(("provider", "path"), examples("closed"))
def test_closed(provider: str, path: str) -> None:
    """What mints credentials, administers the account or shows headers is closed."""
    assert is_closed(PROVIDERS[provider], path)


@pytest.mark.parametrize(
    "path",
    ["/v1/ORGANIZATION", "/v1/Organization/users", "/v1/organization:list", "/V1/organization", "/v1/organization/"],
)
def test_closed_in_every_spelling(path: str) -> None:
    """A closed path is closed by capitals, with a verb, with a slash and below it."""
    assert is_closed(PROVIDERS["openai"], path)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_entry_in_every_spelling(provider: str) -> None:
    """Each closed path is closed with capitals, another separator or none, a verb, a slash, and below it."""
    for entry in PROVIDERS[provider].closed:
        path = entry.replace("*", "x.y")
        others = [path.replace("_", "-"), path.replace("-", "_"), path.replace("_", "").replace("-", ""), path.title()]
        for one in (path, *others, path.upper(), path + ":create", path + "/", path + "/below/it"):
            assert is_closed(PROVIDERS[provider], one), one
        assert not is_closed(PROVIDERS[provider], path + "z"), path


@pytest.mark.parametrize(("provider", "path"), examples("open"))
def test_open(provider: str, path: str) -> None:
    """What an API is for is open."""
    assert not is_closed(PROVIDERS[provider], path)


@pytest.mark.parametrize("path", ["/v1/organizational", "/v1/models/organization", "/v1", "/v1/chat/completions"])
def test_similar_paths_are_open(path: str) -> None:
    """A path that only resembles a closed one is open."""
    assert not is_closed(PROVIDERS["openai"], path)


def test_scope() -> None:
    """A scope opens a method on a path, and nothing near it."""
    scope = ("POST:/v1/chat/completions", "GET:/v1/models/*")
    assert scope_opens(scope, "POST", "/v1/chat/completions")
    assert scope_opens(scope, "GET", "/v1/models/gpt-5-mini")
    for method, path in (
        ("GET", "/v1/chat/completions"),
        ("post", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/models/a:b"),
    ):
        assert not scope_opens(scope, method, path), (method, path)


def test_may_open() -> None:
    """Before the provider is known, a scope may open what some provider would make of a path."""
    assert scope_may_open(("POST:/v1/messages",), "POST", "/messages")
    assert scope_may_open(("POST:/openai/v1/chat/completions",), "POST", "/chat/completions")
    assert scope_may_open(("GET:/user",), "GET", "/api/v3/user")
    assert not scope_may_open(("POST:/v1/messages",), "GET", "/messages")
    assert not scope_may_open(("POST:/v1/messages",), "POST", "/v1/message")
    assert not scope_may_open((), "POST", "/messages")


def test_empty_scope() -> None:
    """An empty scope opens nothing."""
    assert not scope_opens((), "GET", "/")
    assert not scope_opens(("",), "GET", "/")
