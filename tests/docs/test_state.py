"""The pages for a machine that is meant to stay name what its unit serves."""

from __future__ import annotations

import re

import pytest

from tests.running import ROOT

UNIT = (ROOT / "deploy" / "systemd" / "keybroker.service").read_text()
HOME = "/var/lib/keybroker"


@pytest.mark.parametrize("name", ["operate.md", "state.md"])
def test_commands_name_what_the_unit_serves(name: str) -> None:
    """State directory and configuration in a command are those that `keybroker init` makes where the unit looks for them."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert f"WorkingDirectory={HOME}\n" in UNIT
    assert set(re.findall(r"--state (/\S+)", page)) == {f"{HOME}/state"}
    for path in re.findall(r"--config (/\S+)", page):
        assert f"serve --config {path}\n" in UNIT


def test_commands_are_those_of_an_installation() -> None:
    """No command needs a clone, which an installation from a wheel does not have."""
    page = (ROOT / "docs" / "state.md").read_text(encoding="utf-8")
    typed = "".join(re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert {line.split()[0] for line in typed.splitlines()} == {"keybroker"}
