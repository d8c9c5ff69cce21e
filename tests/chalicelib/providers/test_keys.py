from __future__ import annotations

from itertools import combinations
from urllib.parse import urlsplit

import pytest

from chalicelib import patterns
from chalicelib.edge.headers import TOKEN_HEADERS
from chalicelib.providers import paths as call_path
from chalicelib.providers.keys import ProviderKey, closed, may_open, opens
from chalicelib.providers.presets import PROVIDERS


@pytest.mark.parametrize(
    ("provider", "origin", "header", "prefix", "base_path"),
    [
        ("openai", "https://api.openai.com", "authorization", "Bearer ", "/v1"),
        ("anthropic", "https://api.anthropic.com", "x-api-key", "", ""),
        ("gemini", "https://generativelanguage.googleapis.com", "x-goog-api-key", "", ""),
        ("mistral", "https://api.mistral.ai", "authorization", "Bearer ", ""),
        ("cohere", "https://api.cohere.com", "authorization", "Bearer ", ""),
        ("azure-openai", None, "api-key", "", ""),
        ("groq", "https://api.groq.com", "authorization", "Bearer ", "/openai/v1"),
        ("openrouter", "https://openrouter.ai", "authorization", "Bearer ", "/api/v1"),
        ("together", "https://api.together.xyz", "authorization", "Bearer ", "/v1"),
        ("deepseek", "https://api.deepseek.com", "authorization", "Bearer ", ""),
        ("xai", "https://api.x.ai", "authorization", "Bearer ", "/v1"),
        ("github", "https://api.github.com", "authorization", "Bearer ", ""),
        ("stripe", "https://api.stripe.com", "authorization", "Bearer ", ""),
        ("generic", None, "authorization", "Bearer ", ""),
    ],
)
def test_each_provider_is_there_wants_its_key_so_and_its_base_url_ends_so(
    provider: str, origin: str | None, header: str, prefix: str, base_path: str
) -> None:
    found = PROVIDERS[provider]
    assert (found.origin, found.header, found.prefix, found.base_path) == (origin, header, prefix, base_path)


def test_there_are_as_many_presets_as_are_listed_above() -> None:
    assert len(PROVIDERS) == 14


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_preset_is_of_one_piece(name: str) -> None:
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
def test_the_probe_is_for_a_path_as_the_provider_writes_it(name: str) -> None:
    one = PROVIDERS[name]
    if one.probe is None:
        assert name == "generic"
        return
    assert call_path.split(f"/{name}{one.probe.path}") == (name, one.probe.path)
    assert call_path.to_provider_form(one.probe.path, one.paths) == one.probe.path
    assert one.probe.method == "GET", "a probe changes nothing"
    assert not {header for header, _ in one.probe.headers} & set(TOKEN_HEADERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_closed_path_is_written_as_it_is_checked(name: str) -> None:
    """In the provider's own form: one in another would never be met, and so would close nothing."""
    for path in PROVIDERS[name].closed:
        assert call_path.to_provider_form(path.replace("*", "x"), PROVIDERS[name].paths) == path.replace("*", "x")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_longer_beginning_of_a_path_is_looked_for_first(name: str) -> None:
    """Else it would never be found."""
    theirs = [one for one, _ in PROVIDERS[name].paths]
    assert not [(a, b) for a, b in combinations(theirs, 2) if b.startswith(a + "/") or a == ""]


def test_only_google_s_clients_send_a_key_in_the_query() -> None:
    assert {name: one.token_parameter for name, one in PROVIDERS.items() if one.token_parameter} == {"gemini": "key"}


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/v1/organization"),
        ("openai", "/v1/organization/admin_api_keys"),
        ("openai", "/v1/organization/"),
        ("openai", "/v1/projects/p/service_accounts"),
        ("openai", "/v1/realtime/client_secrets"),
        ("openai", "/v1/realtime/translations/client_secrets"),
        ("openai", "/v1/chatkit/sessions"),
        ("openai", "/v1/webhook_endpoints/w/rotate_secret"),
        ("openai", "/v1/vaults/v/credentials"),
        ("openai", "/v1/fine_tuning/checkpoints/ft:gpt-5:org::1/permissions"),
        ("anthropic", "/v1/organizations/api_keys"),
        ("anthropic", "/v1/oauth/token"),
        ("anthropic", "/v1/tunnels/t/reveal_token"),
        ("anthropic", "/v1/environments/e/work"),
        ("anthropic", "/v1/user_profiles/u/enrollment_url"),
        ("gemini", "/v1alpha/auth_tokens"),
        ("gemini", "/v1beta/webhooks"),
        ("mistral", "/v1/connectors/c/organization/credentials/n"),
        ("cohere", "/v1/connectors/c/oauth/authorize"),
        ("azure-openai", "/openai/v1/realtime/client_secrets"),
        ("azure-openai", "/openai/realtimeapi/sessions"),
        ("groq", "/openai/v1/organization"),
        ("openrouter", "/api/v1/keys"),
        ("openrouter", "/api/v1/auth/keys/code"),
        ("openrouter", "/api/v1/byok/1"),
        ("openrouter", "/api/v1/credits"),
        ("together", "/v1/compute/clusters/c"),
        ("deepseek", "/user/balance"),
        ("xai", "/v1/api-key"),
        ("github", "/app/installations/1/access_tokens"),
        ("github", "/repos/o/r/keys"),
        ("github", "/repositories/1/keys"),
        ("github", "/repos/o/r/hooks/1/deliveries/2"),
        ("github", "/repos/o/r/actions/runners/registration-token"),
        ("github", "/orgs/o/personal-access-tokens"),
        ("github", "/organizations/1/settings/billing/usage"),
        ("stripe", "/v1/ephemeral_keys"),
        ("stripe", "/v1/accounts/a/login_links"),
        ("stripe", "/v1/webhook_endpoints"),
        ("stripe", "/v2/core/event_destinations"),
    ],
)
def test_what_mints_credentials_administers_the_account_or_shows_headers_is_closed(provider: str, path: str) -> None:
    assert closed(PROVIDERS[provider], path)


@pytest.mark.parametrize(
    "path",
    ["/v1/ORGANIZATION", "/v1/Organization/users", "/v1/organization:list", "/V1/organization", "/v1/organization/"],
)
def test_a_closed_path_is_closed_in_every_spelling(path: str) -> None:
    assert closed(PROVIDERS["openai"], path)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/v1/fine_tuning/jobs"),
        ("anthropic", "/v1/messages/batches"),
        ("gemini", "/v1beta/models/g:generateContent"),
        ("mistral", "/v1/connectors/c/tools"),
        ("github", "/repos/o/r/issues"),
        ("github", "/repos/o/r/actions/runs"),
        ("github", "/repos/o/keys"),
        ("stripe", "/v1/billing/meter_events"),
        ("stripe", "/v1/accounts/a"),
        ("openrouter", "/api/v1/chat/completions"),
        ("generic", "/v1/organization"),
    ],
)
def test_what_an_api_is_for_is_open(provider: str, path: str) -> None:
    assert not closed(PROVIDERS[provider], path)


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


def test_before_it_is_known_whose_key_it_is_a_scope_may_open_what_some_provider_would_make_of_a_path() -> None:
    assert may_open(("POST:/v1/messages",), "POST", "/messages")
    assert may_open(("POST:/openai/v1/chat/completions",), "POST", "/chat/completions")
    assert may_open(("GET:/user",), "GET", "/api/v3/user")
    assert not may_open(("POST:/v1/messages",), "GET", "/messages")
    assert not may_open(("POST:/v1/messages",), "POST", "/v1/message")
    assert not may_open((), "POST", "/messages")


def test_an_empty_scope_opens_nothing() -> None:
    assert not opens((), "GET", "/")
    assert not opens(("",), "GET", "/")


def test_a_key_is_revealed_in_the_form_that_its_header_wants() -> None:
    assert ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1").reveal() == "Bearer sk-1"
    assert ProviderKey("v1", "https://api.anthropic.com", "x-api-key", "", "sk-1").reveal() == "sk-1"


def test_a_key_redacts_itself() -> None:
    key = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-1")
    assert repr(key) == "ProviderKey(version='v1', origin='https://api.openai.com', value=***)"
