"""A path with encoded separators goes on as it came, if it is open in every reading, and is refused otherwise."""

from __future__ import annotations

import json

import pytest

from chalicelib.providers.presets import PROVIDERS
from tests.edge_function import Door, policy_for, provide, refusal
from tests.parts import Parts
from tests.test_edge_paths import reason_of, shown

ELSEWHERE = "https://api.internal.example.com"
"""An origin for providers that have none of their own."""


def limited(parts: Parts, provider: str, scope: str, models: list[str]) -> str:
    """As `provide`, for a grant that limits models."""
    quota = "    quota: {tokens"
    parts.apply(policy_for(provider, scope).replace(quota, f"    models: {json.dumps(models)}\n{quota}"))
    parts.set_key(provider, f"key-of-{provider}", origin=PROVIDERS[provider].origin or ELSEWHERE)
    return parts.exchange(audience=provider).access_token


SENT_AS_IT_CAME = [
    ("github", "GET", "/repos/octo/app/git/ref/heads%2Fmain", "GET:/repos/octo/app/git/ref/*/*"),
    ("github", "GET", "/repos/octo/app/contents/docs%2Fa.md", "GET:/repos/octo/app/contents/*/*"),
    ("github", "GET", "/repos/octo/app/branches/feature%2Fx", "GET:/repos/octo/app/branches/*"),
    ("github", "DELETE", "/repos/octo/app/issues/1/labels/kind%3A%20bug", "DELETE:/repos/octo/app/issues/1/labels/*"),
    ("generic", "GET", "/api/v4/projects/group%2Fapp", "GET:/api/v4/projects/**"),
    ("openai", "GET", "/v1/models/ft:gpt-4o-mini-2024-07-18:acme::AbC123", "GET:/v1/models/*"),
    ("openai", "GET", "/v1/models/ft%3Agpt-4o-mini-2024-07-18%3Aacme%3A%3AAbC123", "GET:/v1/models/*"),
    ("gemini", "GET", "/v1beta/models/g%3Ax", "GET:/v1beta/models/*:x"),
]


@pytest.mark.parametrize(("provider", "method", "path", "scope"), SENT_AS_IT_CAME)
def test_encoded_path_goes_on_as_it_came(  # noqa: PLR0917  a row of the table
    parts: Parts, door: Door, provider: str, method: str, path: str, scope: str
) -> None:
    """A path with encoded separators is sent on byte for byte, if its scope opens every reading."""
    token = provide(parts, provider, scope, origin=PROVIDERS[provider].origin or ELSEWHERE)
    assert door.send(("x-api-key", token), method=method, uri=f"/{provider}{path}")["uri"] == path


@pytest.mark.parametrize(
    ("provider", "path", "reason"),
    [
        ("github", "/user%2Fkeys", "path_closed"),
        ("github", "/repos/o%2Fr/keys", "path_closed"),
        ("github", "/api/v3/user%2Fkeys", "path_closed"),
        ("openai", "/v1/organization%2Fadmin_api_keys", "path_closed"),
        ("gemini", "/v1beta/auth_tokens%3Acreate", "path_closed"),
        ("generic", "/api/v4/projects/a%2F..%2Fb", "path_ambiguous"),
        ("generic", "/api/v4/projects/a%252Fb", "path_ambiguous"),
    ],
)
def test_nothing_closed_behind_an_encoding(parts: Parts, door: Door, provider: str, path: str, reason: str) -> None:
    """Not even a scope that opens everything opens a closed path in another reading."""
    token = provide(parts, provider, "GET:/**", origin=PROVIDERS[provider].origin or ELSEWHERE)
    refusal(door.send(("x-api-key", token), method="GET", uri=f"/{provider}{path}"))
    assert door.line["reason"] == reason


def test_scope_of_one_reading(parts: Parts, door: Door) -> None:
    """Where both readings count, a call that is open in one is refused, and the refusal names the other one."""
    token = provide(parts, "generic", "GET:/api/v4/projects/*", origin=ELSEWHERE)
    result = door.send(("x-api-key", token), method="GET", uri="/generic/api/v4/projects/group%2Fapp")
    assert refusal(result) == ("403", "insufficient_scope")
    assert "GET /api/v4/projects/group/app" in result["body"]


def test_narrowed_token_in_two_readings(parts: Parts, door: Door) -> None:
    """A caller may narrow its scope to a fine-tuned model, and gets that one alone."""
    provide(parts, "openai", "GET:/v1/models/*")
    scope = "GET:/v1/models/ft:gpt-4o:acme::A1"
    token = parts.exchange(audience="openai", scope=frozenset({scope})).access_token
    assert "origin" in door.send(("x-api-key", token), method="GET", uri="/openai/v1/models/ft%3Agpt-4o:acme::A1")
    refusal(door.send(("x-api-key", token), method="GET", uri="/openai/v1/models/ft%3Agpt-4o:acme::A2"))
    assert door.line["reason"] == "out_of_scope"


@pytest.mark.parametrize(
    ("provider", "path", "models", "reason"),
    [
        ("openai", "/v1/models/ft:gpt-4o:acme::A1", ["ft:gpt-4o:acme::A1"], ""),
        ("openai", "/v1/models/ft%3Agpt-4o%3Aacme%3A%3AA1", ["ft:gpt-4o:acme::A1"], ""),
        ("openai", "/v1/models/ft%3Agpt-4o%3Aacme%3A%3AA1", ["ft:gpt-4o:acme::*"], ""),
        ("openai", "/v1/models/ft%3Agpt-4o%3Aevil%3A%3AA1", ["ft:gpt-4o:acme::*"], "model_not_allowed"),
        ("openai", "/v1/models/ft%3Agpt-4o%3Aacme%3A%3AA2", ["ft:gpt-4o:acme::A1", "ft"], "model_not_allowed"),
        ("together", "/v1/models/meta%2FLlama-3", ["meta/Llama-3"], ""),
        ("together", "/v1/models/meta/Llama-3", ["meta/Llama-3"], ""),
        ("together", "/v1/models/meta%2FLlama-4", ["meta", "Llama-4", "meta/Llama-3"], "model_not_allowed"),
        ("gemini", "/v1beta/models/a%2Fb:x", ["a", "b", "a/b"], "model_not_allowed"),
    ],
)
def test_model_in_two_readings(  # noqa: PLR0917  a row of the table
    parts: Parts, door: Door, provider: str, path: str, models: list[str], reason: str
) -> None:
    """A model that a path names is the same in every spelling, and no other one is reached by one."""
    token = limited(parts, provider, "GET:/**", models)
    result = door.send(("x-api-key", token), method="GET", uri=f"/{provider}{path}")
    assert ("origin" in result) is (reason == "")
    assert not reason or door.line["reason"] == reason


def test_deployment_in_two_readings(parts: Parts, door: Door) -> None:
    """An encoded slash in an Azure deployment's name is refused where models are limited: its readings differ."""
    token = limited(parts, "azure-openai", "POST:/openai/**", ["a", "a/b", "b"])
    made = shown('{"model": "a"}', "application/json")
    made["Records"][0]["cf"]["request"]["uri"] = "/azure-openai/openai/deployments/a%2Fb/chat/completions"
    assert reason_of(door, token, made) == "model_endpoint_closed"
