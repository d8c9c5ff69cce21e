"""docs/ci.md shows what the command prints, and what each snippet holds."""

from __future__ import annotations

import re

import pytest
import yaml

from keybroker.cli import ci_workflow
from tests.running import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_workflow_that_setup_writes() -> None:
    """The page's workflow is the one that `keybroker setup github` prints."""
    assert BLOCKS[0] == ci_workflow.github("openai", "https://broker.example.com", ci_workflow.NO_ACTION)


def test_the_page_shows_how_the_gitlab_template_is_used() -> None:
    """The page's job for GitLab is the one in the template's own comment."""
    usage = "\n".join(re.findall(r"^#   (.*)", (ROOT / "ci" / "gitlab.yml").read_text(), re.MULTILINE))
    [shown] = [one for one in BLOCKS if "include:" in one]
    assert yaml.safe_load(shown) == yaml.safe_load(usage)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_yaml(block: str) -> None:
    """Every block of configuration parses."""
    assert yaml.safe_load(block)
