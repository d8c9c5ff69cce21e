"""A path as its provider writes it, whatever a client makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.providers.paths import split, to_provider_form
from chalicelib.providers.presets import PROVIDERS
from tests.chalicelib.providers.test_paths import URIS, is_stable, outcome_of


@pytest.mark.parametrize(
    ("provider", "path", "own_path"),
    [
        ("openai", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1", "/v1"),
        ("openai", "/v1beta/x", "/v1/v1beta/x"),
        ("openai", "/", "/v1/"),
        ("anthropic", "/v1/messages", "/v1/messages"),
        ("anthropic", "/messages", "/v1/messages"),
        ("gemini", "/v1/models/g:generateContent", "/v1/models/g:generateContent"),
        ("gemini", "/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("gemini", "/models/g:generateContent", "/v1beta/models/g:generateContent"),
        ("gemini", "/upload/v1beta/files", "/upload/v1beta/files"),
        ("gemini", "/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("mistral", "/chat/completions", "/v1/chat/completions"),
        ("mistral", "/v1/chat/completions", "/v1/chat/completions"),
        ("cohere", "/v2/chat", "/v2/chat"),
        ("cohere", "/chat", "/chat"),
        ("azure-openai", "/openai/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
        ("azure-openai", "/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
        ("azure-openai", "/v1/responses", "/openai/v1/responses"),
        ("groq", "/openai/v1/models", "/openai/v1/models"),
        ("groq", "/v1/models", "/openai/v1/models"),
        ("groq", "/models", "/openai/v1/models"),
        ("openrouter", "/api/v1/models", "/api/v1/models"),
        ("openrouter", "/v1/models", "/api/v1/models"),
        ("openrouter", "/models", "/api/v1/models"),
        ("together", "/models", "/v1/models"),
        ("deepseek", "/v1/chat/completions", "/chat/completions"),
        ("deepseek", "/chat/completions", "/chat/completions"),
        ("deepseek", "/beta/completions", "/beta/completions"),
        ("deepseek", "/v1", "/"),
        ("xai", "/responses", "/v1/responses"),
        ("github", "/api/v3/repos/o/r", "/repos/o/r"),
        ("github", "/repos/o/r", "/repos/o/r"),
        ("github", "/api/graphql", "/graphql"),
        ("stripe", "/v1/charges", "/v1/charges"),
        ("generic", "/v1/x", "/v1/x"),
    ],
)
def test_a_path_is_sent_on_as_the_provider_writes_it(provider: str, path: str, own_path: str) -> None:
    assert to_provider_form(path, PROVIDERS[provider].paths) == own_path
    assert to_provider_form(own_path, PROVIDERS[provider].paths) == own_path


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("deepseek", "/v1/v1/user/balance"),
        ("github", "/api/v3/api/v3/user/keys"),
        ("github", "/api/v3/api/graphql"),
    ],
)
def test_a_path_that_maps_twice_is_refused(provider: str, path: str) -> None:
    with pytest.raises(Refusal) as caught:
        to_provider_form(path, PROVIDERS[provider].paths)
    assert (caught.value.reason, caught.value.status) == ("path_ambiguous", 400)


@settings(max_examples=300)
@given(st.sampled_from(sorted(PROVIDERS)), URIS)
def test_what_is_sent_on_is_stable_and_is_its_own_form(provider: str, uri: str) -> None:
    outcome = outcome_of(uri)
    if isinstance(outcome, Refusal):
        return
    forms = PROVIDERS[provider].paths
    try:
        found = to_provider_form(outcome[1], forms)
    except Refusal:
        return
    assert to_provider_form(found, forms) == found
    assert is_stable(found)
    assert found == "/" or split("/key" + found) == ("key", found)
