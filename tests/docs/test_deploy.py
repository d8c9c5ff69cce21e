"""docs/deploy.md says what is so: its commands, files, parameters, actions and numbers are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infra import signing_keys
from infra.stage import Stage
from tests import aws_roles, cloudformation
from tests.integration.infra.installation import UNJUDGED
from tests.running import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
CHOSEN = re.search(r"```json\n(.+?)```", PAGE, re.DOTALL)


def test_every_template_is_in_the_table_and_every_row_is_a_template() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \[infra/(\w+)\.yaml\]", PAGE, re.MULTILINE)
    assert {stack for stack, _ in rows} == {path.stem for path in cloudformation.INFRA.glob("*.yaml")}
    assert all(stack == template for stack, template in rows)


def test_every_make_command_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make (?:PYTHON=\S+ )?([a-z][a-z-]*)", PAGE, re.MULTILINE))
    assert {"package", "deploy", "destroy", "test-infra"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_what_is_chosen_in_the_example_can_be_chosen(tmp_path: Path) -> None:
    assert CHOSEN
    (tmp_path / "prod.json").write_text(CHOSEN[1])
    stage = Stage.read("prod", "", tmp_path)
    for stack, chosen in stage.parameters.items():
        assert chosen.keys() <= cloudformation.template(stack)["Parameters"].keys(), stack
    days = cloudformation.template("logs")["Parameters"]["Days"]["AllowedValues"]
    assert int(json.loads(CHOSEN[1])["logs"]["Days"]) in days


def test_every_variable_that_is_named_as_a_parameter_is_one() -> None:
    every = {
        name for path in cloudformation.INFRA.glob("*.yaml") for name in cloudformation.read(path).get("Parameters", {})
    }
    every |= {
        name for path in cloudformation.INFRA.glob("*.yaml") for name in cloudformation.read(path).get("Outputs", {})
    }
    for name in ("CallerAccounts", "DomainTarget", "DistributionDomain", "Signs"):
        assert name in PAGE
        assert name in every


def test_the_command_that_taints_a_key_has_these_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        signing_keys.main(["--help"])
    told = capsys.readouterr().out
    (command,) = re.findall(r"python -m infra\.signing_keys (.+)", PAGE)
    assert all(option in told for option in re.findall(r"--[a-z]+", command))


def test_the_conditions_that_no_emulator_judges_are_those_of_the_tests() -> None:
    assert all(f"`{key}`" in PAGE for key in UNJUDGED)
    assert Path(aws_roles.__file__).relative_to(ROOT).as_posix() in PAGE
