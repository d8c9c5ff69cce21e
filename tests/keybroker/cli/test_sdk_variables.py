from __future__ import annotations

import json
from pathlib import Path

import pytest

from keybroker.cli import sdk_variables
from keybroker.cli.sdk_variables import Variables, known


@pytest.mark.parametrize("name", known())
def test_the_child_has_only_our_variables(name: str) -> None:
    """A child's environment has the token and the URL, and nothing that overrides them."""
    variables = known()[name]
    parent = dict.fromkeys((variables.key, variables.url, *variables.also, *variables.unset), "old") | {"PATH": "/bin"}
    environ = sdk_variables.child_environ(parent, {name: ("token", "https://edge.example/k")})
    assert environ == {"PATH": "/bin"} | variables.assignments("token", "https://edge.example/k")


READ = json.loads((Path(__file__).parents[2] / "vectors" / "sdk_variables.json").read_text(encoding="utf-8"))
"""In which package of which version each variable was found, and on which day."""


def test_every_variable_is_read_by_an_sdk() -> None:
    """Each variable that is set or unset was found in the source of an SDK; what none reads says so to its user."""
    wanted = {
        name for one in known().values() for name in (*one.also, *one.unset, *(() if one.ours else (one.key, one.url)))
    }
    names = {one.url for one in known().values() if one.ours} | {one.key for one in known().values()}
    assert wanted <= set(READ["variables"])
    assert set(READ["variables"]) <= wanted | names
    for readers in READ["variables"].values():
        assert readers
        assert set(readers) <= set(READ["readers"])


def test_azures_sdk_gets_its_endpoint() -> None:
    """AzureOpenAI reads an endpoint, and no token or address of before is left to win over ours."""
    before = {"AZURE_OPENAI_AD_TOKEN": "old", "OPENAI_BASE_URL": "https://old.example", "AZURE_API_KEY": "old"}
    environ = sdk_variables.child_environ(before, {"azure-openai": ("token", "https://edge.example/azure-openai")})
    assert environ == {
        "AZURE_OPENAI_API_KEY": "token",
        "AZURE_OPENAI_ENDPOINT": "https://edge.example/azure-openai",
        "AZURE_API_BASE": "https://edge.example/azure-openai",
    }


def test_litellms_cohere_stays_on_the_edge() -> None:
    """LiteLLM, which reads Cohere's key and not its SDK's address, finds the edge's where it looks, and never Cohere's."""
    before = {"COHERE_API_BASE": "https://api.cohere.com/v2/chat", "COHERE_API_KEY": "old"}
    environ = sdk_variables.child_environ(before, {"cohere": ("token", "https://edge.example/cohere")})
    assert environ == {
        "CO_API_KEY": "token",
        "CO_API_URL": "https://edge.example/cohere",
        "COHERE_API_BASE": "https://edge.example/cohere",
    }


def test_githubs_actions_get_their_own_names() -> None:
    """A step of a GitHub job finds the token and the edge where GitHub's own actions look."""
    environ = sdk_variables.child_environ(
        {"GITHUB_API_URL": "https://api.github.com"}, {"github": ("t", "https://e.example/g")}
    )
    assert environ == {"GITHUB_TOKEN": "t", "GITHUB_API_URL": "https://e.example/g"}


def test_several_sdks_are_set_at_once() -> None:
    """Several SDKs' variables are set at once."""
    environ = sdk_variables.child_environ(
        {}, {"openai": ("a", "https://a.example"), "anthropic": ("b", "https://b.example")}
    )
    assert (environ["OPENAI_API_KEY"], environ["ANTHROPIC_API_KEY"]) == ("a", "b")


def test_an_unknown_sdk_is_named_after_itself() -> None:
    """An unknown SDK's variables are named after it."""
    assert sdk_variables.variables_for("my-tool.2") == Variables("MY_TOOL_2_API_KEY", "MY_TOOL_2_BASE_URL", ours=True)


def test_loopback_bypasses_a_proxy() -> None:
    """Loopback is reached directly, even if a proxy is set."""
    environ = sdk_variables.without_proxy({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "corp.example"})
    assert (environ["NO_PROXY"], environ["no_proxy"]) == ("corp.example,127.0.0.1", "127.0.0.1")
