from __future__ import annotations

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
