from __future__ import annotations

import pytest

from chalicelib.providers import PROVIDERS, TOKEN_HEADERS, ProviderKey, closed, opens


@pytest.mark.parametrize(
    ("provider", "header", "prefix", "base_path"),
    [
        ("openai", "authorization", "Bearer ", "/v1"),
        ("anthropic", "x-api-key", "", ""),
        ("generic", "authorization", "Bearer ", ""),
    ],
)
def test_each_provider_wants_its_key_so_and_its_base_url_ends_so(
    provider: str, header: str, prefix: str, base_path: str
) -> None:
    found = PROVIDERS[provider]
    assert (found.header, found.prefix, found.base_path) == (header, prefix, base_path)


def test_a_key_is_only_ever_put_where_tokens_are_taken_off() -> None:
    assert {one.header for one in PROVIDERS.values()} <= set(TOKEN_HEADERS)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/v1/organization"),
        ("openai", "/v1/organization/admin_api_keys"),
        ("openai", "/v1/organization/"),
        ("anthropic", "/v1/organizations/api_keys"),
        ("anthropic", "/v1/oauth/token"),
    ],
)
def test_what_mints_credentials_or_administers_the_account_is_closed(provider: str, path: str) -> None:
    assert closed(PROVIDERS[provider], path)


@pytest.mark.parametrize("path", ["/v1/organizational", "/v1/models/organization", "/v1", "/v1/chat/completions"])
def test_nothing_else_is_closed(path: str) -> None:
    assert not closed(PROVIDERS["openai"], path)


def test_a_scope_opens_a_method_on_a_path() -> None:
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


def test_an_empty_scope_opens_nothing() -> None:
    assert not opens((), "GET", "/")
    assert not opens(("",), "GET", "/")


def test_a_key_is_revealed_in_the_form_that_its_header_wants() -> None:
    assert ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1").reveal() == "Bearer sk-1"
    assert ProviderKey("v1", "https://api.anthropic.com", "x-api-key", "", "sk-1").reveal() == "sk-1"


def test_a_key_redacts_itself() -> None:
    key = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1")
    assert repr(key) == "ProviderKey(version='v1', origin='https://api.openai.com', value=***)"
