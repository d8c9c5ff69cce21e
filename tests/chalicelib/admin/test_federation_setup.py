"""What is printed for a provider can be done there as it is, for a second key as for the first."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.admin import federation_setup
from chalicelib.policy.compile import DEPLOYED
from chalicelib.providers.federated import AWS_STS, BROKER, FEDERATED
from tests.http_door import admin_door
from tests.parts import Parts

URL = "https://broker.example"
ON_AWS = {"rules": replace(DEPLOYED, identity=AWS_STS), "installation": "keybroker-prod"}


def setup(provider: str, key: str = "My_key", identity: str = BROKER) -> dict[str, Any]:
    return federation_setup.of(provider, key, identity, URL, [])


@pytest.mark.parametrize("identity", [AWS_STS, BROKER])
@pytest.mark.parametrize("provider", FEDERATED)
def test_the_policy_says_who_vouches(provider: str, identity: str) -> None:
    """The line for the policy names the identity that the steps are for, wherever the provider is shown one."""
    line = setup(provider, identity=identity)["policy"]
    assert (f"identity: {identity}, " in line) is bool(FEDERATED[provider].algorithms)
    assert "identity" not in setup(provider)["ids"]


def test_names_are_such_as_providers_take() -> None:
    """What is made for a key is named after it, in lower case, without what Anthropic refuses in a name."""
    for provider in ("anthropic", "openai", "azure-openai"):
        names = re.findall(r'"name": "([^"]*)"', " ".join(setup(provider)["steps"]))
        assert "keybroker-my-key" in names
        assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openrouter", "gemini"])
def test_a_second_key(provider: str) -> None:
    """What all keys have in common is said to be made once, and nothing else has the name of another key's."""
    first, second = setup(provider)["steps"], setup(provider, "other")["steps"]
    shared = [step for step in first if step in second and ("POST" in step or "keybroker" in step)]
    assert shared
    assert all("once for all keys" in step for step in shared)
    assert any("keybroker-my-key" in step or "/key/My_key" in step for step in first)


def test_openai_s_service_account() -> None:
    """OpenAI's service account is among what is made, and the static key that comes with it is told of."""
    [made] = [step for step in setup("openai")["steps"] if "/service_accounts " in step]
    assert "delete" in made


def test_an_app_s_alias() -> None:
    """The alias under which a GitHub App's key is looked for on AWS is named."""
    assert "alias/keybroker-<stage>-app-<client id>" in " ".join(setup("github-app")["steps"])


def test_the_former_value_on_aws(parts: Parts) -> None:
    """Where a value that was set is not deleted by us, the last step says how it is; on one machine there is no such step."""
    query = {"provider": "openai", "key": "gpt"}
    on_aws = admin_door(parts, **ON_AWS).administer("GET", "/admin/federation", query=query).json
    assert "delete-secret --secret-id keybroker-prod/gpt --recovery-window-in-days 7" in on_aws["steps"][-1]
    assert "delete-secret" not in str(admin_door(parts).administer("GET", "/admin/federation", query=query).json)
