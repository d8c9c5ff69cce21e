"""docs/gateway.md is true: its options, parameters and files exist, with the defaults that it says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chalicelib.aws.round_trip import Steps
from chalicelib.aws.running_state import DynamoRunningState
from chalicelib.edge.running import RunningCall
from chalicelib.edge.token import VerifiedToken
from infra import cost
from local import configuration
from local.errors import StageUnusable
from local.program import _parser
from local.simulator.running_calls import PERIOD
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
    assert {name for name, _ in commands} == {"keys", "gateway-role", "broker-role", "gateway"}
    for name, rest in commands:
        parameters = cloudformation.template(name)["Parameters"]
        given = set(re.findall(r"\b([A-Z]\w+)=", rest))
        assert given <= parameters.keys()
        assert {one for one, about in parameters.items() if "Default" not in about} <= given


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """The page's configuration can be read, its table names every field of a stage, and its fault is what is said."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "keybroker.toml").write_text(text)
    told = configuration.read(tmp_path / "keybroker.toml")
    assert told.tables
    assert (told.tables.stage, told.tables.doors, told.drain_seconds) == ("keybroker-prod", ("broker",), 30)
    rows = re.findall(r"`((?:tables|timeouts)\.[a-z_]+)`", PAGE.partition("| Field |")[2].partition("\n\n")[0])
    assert {one for one in configuration.FIELDS if one.startswith("tables.")} <= set(rows) <= set(configuration.FIELDS)
    fault = StageUnusable(hint="the table keybroker-prod-ledger in eu-central-1: AccessDeniedException")
    assert f"error: cannot start: {fault.reason} ({fault.hint})\n" in PAGE


def test_nothing_is_promised_that_is_not_built() -> None:
    """What a gateway cannot do is said."""
    assert "What it cannot do yet" in PAGE


class Counting:
    """A client whose table is empty: notes how many items are asked for, each a read unit at least."""

    def __init__(self) -> None:
        self.items = 0

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`."""
        del seconds, undo
        return [self._answer(call) for call in calls]

    def _answer(self, call: Steps[Any]) -> Any:  # noqa: ANN401  whatever a call returns
        ((table, asked),) = next(call).parameters["RequestItems"].items()
        assert asked["ConsistentRead"] is True
        self.items += len(asked["Keys"])
        try:
            call.send({"Responses": {table: []}})
        except StopIteration as end:
            return end.value
        raise AssertionError("one request reads a batch")


def a_look_at(streams: int) -> int:
    """Return the read units of one look at as many calls under one grant, each with a principal and a token of its own."""
    token = VerifiedToken("kid", "", "", "https://ci.example", "app", ("GET:/",), {}, has_total=False)
    calls = [RunningCall(token._replace(jti=f"jti-{one}", principal=f"sub-{one}"), "openai") for one in range(streams)]
    client = Counting()
    DynamoRunningState(client, "control", "gateway-1").see({one for call in calls for one in call.targets().values()})
    return client.items


def test_a_call_under_way_costs_what_is_said() -> None:
    """The page's read units and dollars follow from what a look reads, how often one is taken, and the list price."""
    units, times = a_look_at(1001) - a_look_at(1000), 1 / PERIOD
    dollars = a_look_at(1000) * times * 30 * 86_400 * cost.PRICES["DynamoDB, read unit"][0]
    words, often = {2: "two", 4: "four"}, {1: "once", 2: "twice"}
    said = f"some {words[int(units * times)]} read units a second"
    looks = f"{words[units]} at each look, {often[int(times)]} a second"
    assert f"{said}, for seeing its revocation: {looks}." in PAGE
    assert f"1,000 streams all month are about ${round(dollars, -2):,.0f} |" in PAGE
