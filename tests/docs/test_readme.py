"""The README keeps its promises: short, and every command, link and file in it is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import keybroker
from tests.running import ROOT

PAGES = [
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
    *sorted(f"docs/{one.name}" for one in (ROOT / "docs").glob("*.md")),
]
PAGES += sorted(f"docs/adr/{one.name}" for one in (ROOT / "docs" / "adr").glob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE))


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_make_command_of_the_readme_is_in_the_makefile() -> None:
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test", "help", "dev"} <= named
    assert named <= TARGETS


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = ROOT / page
    for link in re.findall(r"\]\(([^)]+)\)", here.read_text()):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        found = (here.parent / target).resolve() if target else here
        assert found.is_file(), link
        assert not anchor or anchor in headings(found), link


def test_every_file_that_the_decision_records_name_is_there() -> None:
    text = (ROOT / "docs/adr/0001-shape.md").read_text()
    table = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \|", text, re.MULTILINE)
    named = [name for row in table for name in re.findall(r"[\w/]+", row)]
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "chalicelib" / f"{name}.py").is_file()] == []


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    reasons = re.findall(r"^\| ([\w.\[\]@/-]+) \| [^|]{20,} \| [^|]+ \|$", text, re.MULTILINE)
    stated = re.findall(r'^\s+"([\w-]+(?:\[\w+\])?)[><=]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    infra = ("tests/integration/infra/requirements.txt", "tests/integration/infra/checkov.txt")
    files = ("tests/integration/ministack.txt", "tests/api/requirements.txt", "tests/bench/lambda.txt", *infra)
    own = [name for file in files for name in re.findall(r"^([\w-]+)", (ROOT / file).read_text(), re.MULTILINE)]
    clients = {one.read_text().partition(">")[0] for one in (ROOT / "tests/sdks/requirements").glob("*.txt")}
    clients |= json.loads((ROOT / "tests/sdks/node/package.json").read_text())["dependencies"].keys()
    assert sorted(reasons) == sorted([*stated, *own, *clients])


def test_the_readmes_program_uses_what_the_client_has() -> None:
    program = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    compile(program, "README.md", "exec")
    assert set(re.findall(r"keybroker\.(\w+)\(", program)) <= set(keybroker.__all__)
    assert set(re.findall(r"token\.(\w+)", program)) <= set(keybroker.Token.__dataclass_fields__)
