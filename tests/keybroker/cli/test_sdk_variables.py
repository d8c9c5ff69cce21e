from __future__ import annotations

import re

import pytest

from keybroker.cli import sdk_variables
from keybroker.cli.sdk_variables import KNOWN, Variables
from tests.running import ROOT


@pytest.mark.parametrize("name", KNOWN)
def test_a_childs_environment_has_the_token_and_the_address_and_nothing_that_would_win(name: str) -> None:
    variables = KNOWN[name]
    parent = dict.fromkeys((variables.key, variables.url, *variables.also, *variables.unset), "old") | {"PATH": "/bin"}
    environ = sdk_variables.child_environ(parent, {name: ("token", "https://edge.example/k")})
    assert environ == {"PATH": "/bin"} | variables.assignments("token", "https://edge.example/k")


def test_several_sdks_are_set_at_once() -> None:
    environ = sdk_variables.child_environ(
        {}, {"openai": ("a", "https://a.example"), "anthropic": ("b", "https://b.example")}
    )
    assert (environ["OPENAI_API_KEY"], environ["ANTHROPIC_API_KEY"]) == ("a", "b")


def test_an_sdk_that_nobody_knows_has_variables_of_its_name() -> None:
    assert sdk_variables.variables_for("my-tool.2") == Variables("MY_TOOL_2_API_KEY", "MY_TOOL_2_BASE_URL", ours=True)


def test_this_machines_address_is_reached_past_a_proxy() -> None:
    environ = sdk_variables.without_proxy({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "corp.example"})
    assert (environ["NO_PROXY"], environ["no_proxy"]) == ("corp.example,127.0.0.1", "127.0.0.1")


def test_the_documentation_has_the_same_variables() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (`[^|]+) \| ([^|]*) ?\|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    shown = {
        name: (tuple(re.findall(r"`([A-Z_]+)`", made)), tuple(re.findall(r"`(\w+)`", gone)))
        for name, made, gone in rows
    }
    assert shown == {name: ((one.key, one.url, *one.also), one.unset) for name, one in KNOWN.items()}
