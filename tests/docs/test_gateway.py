"""docs/gateway.md is true: its options, parameters and files exist, with the defaults that it says."""

from __future__ import annotations

import argparse
import re

from local.__main__ import _parser
from tests import cloudformation
from tests.running import ROOT

PAGE = (ROOT / "docs" / "gateway.md").read_text("utf-8")
ROW = re.compile(r"^\| (`--[^|]+) \| ([^|]+) \|", re.MULTILINE)


def options() -> dict[str, object]:
    """Every option of the program with its default."""
    (commands,) = [one for one in _parser(installed=False)._actions if isinstance(one, argparse._SubParsersAction)]
    found = commands.choices["gateway"]._actions
    return {one.option_strings[0]: one.default for one in found if one.dest != "help"}


def test_options_are_those_that_there_are() -> None:
    """The page lists every option, with its default."""
    told: dict[str, str] = {}
    for names, defaults in ROW.findall(PAGE):
        words = re.findall(r"--[a-z-]+", names)
        given = [defaults.strip("`")] if len(words) == 1 else re.findall(r"[^ `]+", defaults)
        told |= dict(zip(words, given * (len(words) // len(given)), strict=True))
    assert told.keys() == options().keys()
    for name, default in options().items():
        if isinstance(default, str | int) and not isinstance(default, bool):
            assert told[name] == str(default), name


def test_parameters_exist() -> None:
    """Each command gives its template parameters that it has, and every one that has no default."""
    commands = re.findall(r"--template-file infra/([\w-]+)\.yaml(.+?)```", PAGE.replace("$ aws", "```$ aws"), re.DOTALL)
    assert {name for name, _ in commands} == {"keys", "gateway-role", "gateway"}
    for name, rest in commands:
        parameters = cloudformation.template(name)["Parameters"]
        given = set(re.findall(r"\b([A-Z]\w+)=", rest))
        assert given <= parameters.keys()
        assert {one for one, about in parameters.items() if "Default" not in about} <= given


def test_nothing_is_promised_that_is_not_built() -> None:
    """What a gateway cannot do is said."""
    assert "What it cannot do yet" in PAGE
