"""docs/deploy.md is true: its stacks, settings, options and conditions exist."""

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


def test_templates_are_listed() -> None:
    """The table of stacks lists exactly the templates."""
    rows = re.findall(r"^\| `([\w-]+)` \| \[infra/([\w-]+)\.yaml\]", PAGE, re.MULTILINE)
    assert {stack for stack, _ in rows} == {path.stem for path in cloudformation.INFRA.glob("*.yaml")}
    assert all(stack == template for stack, template in rows)


def test_example_settings_exist(tmp_path: Path) -> None:
    """Every setting in the example is a parameter of its template, with an allowed value."""
    assert CHOSEN
    (tmp_path / "prod.json").write_text(CHOSEN[1])
    stage = Stage.read("prod", "", tmp_path)
    for stack, chosen in stage.parameters.items():
        assert chosen.keys() <= cloudformation.template(stack)["Parameters"].keys(), stack
    days = cloudformation.template("logs")["Parameters"]["Days"]["AllowedValues"]
    assert int(json.loads(CHOSEN[1])["logs"]["Days"]) in days


def test_named_parameters_exist() -> None:
    """The parameters and outputs that the page names exist in a template."""
    every = {
        name for path in cloudformation.INFRA.glob("*.yaml") for name in cloudformation.read(path).get("Parameters", {})
    }
    every |= {
        name for path in cloudformation.INFRA.glob("*.yaml") for name in cloudformation.read(path).get("Outputs", {})
    }
    for name in ("CallerAccounts", "DomainTarget", "DistributionDomain", "Signs"):
        assert name in PAGE
        assert name in every


def test_signing_key_options(capsys: pytest.CaptureFixture[str]) -> None:
    """The command for signing keys has the options that the page uses."""
    with pytest.raises(SystemExit):
        signing_keys.main(["--help"])
    told = capsys.readouterr().out
    (command,) = re.findall(r"python -m infra\.signing_keys (.+)", PAGE)
    assert all(option in told for option in re.findall(r"--[a-z]+", command))


def test_unjudged_conditions_are_named() -> None:
    """The page names every condition that the emulator cannot judge."""
    assert all(f"`{key}`" in PAGE for key in UNJUDGED)
    assert Path(aws_roles.__file__).relative_to(ROOT).as_posix() in PAGE
