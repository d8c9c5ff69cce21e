"""The README and the pages keep their promises: every command, link and file that they name is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

PAGES = sorted(
    str(page.relative_to(ROOT)) for pattern in ("*.md", "docs/*.md", "docs/adr/*.md") for page in ROOT.glob(pattern)
)
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE))
PATH = re.compile(r"`((?:chalicelib|local|keybroker|infra|tests|docs|ci)/[\w./-]*\w|(?:app|edge)\.py)`")


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_short() -> None:
    """The README has at most 120 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    """Every `make` command that a page names is a target of the Makefile."""
    named = set(re.findall(r"(?:^ *|`)make (?:PYTHON=\S+ )?([a-z][a-z-]*)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= TARGETS


def test_make_help_lists_every_target() -> None:
    """`make help` lists every target."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    """Every link of a page leads to a file, and to a heading where it names one."""
    here = ROOT / page
    for link in re.findall(r"\]\(([^)]+)\)", here.read_text()):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        found = (here.parent / target).resolve() if target else here
        assert found.is_file(), link
        assert not anchor or anchor in headings(found), link


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_paths_exist(page: str) -> None:
    """Every file or directory that a page names in backticks exists; the changelog may name what is gone."""
    named = set(PATH.findall((ROOT / page).read_text()))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_adr_table_names_modules() -> None:
    """Every module in the first decision record's table exists."""
    text = (ROOT / "docs/adr/0001-shape.md").read_text()
    table = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \|", text, re.MULTILINE)
    named = [name for row in table for name in re.findall(r"[\w/]+", row)]
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "chalicelib" / f"{name}.py").is_file()] == []


def test_dependencies_have_reasons() -> None:
    """docs/dependencies.md gives a reason for every dependency, and for nothing else."""
    text = (ROOT / "docs/dependencies.md").read_text()
    reasons = re.findall(r"^\| ([\w.\[\]@/-]+) \| [^|]{20,} \| [^|]+ \|$", text, re.MULTILINE)
    stated = re.findall(r'^\s+"([\w-]+(?:\[\w+\])?)[><=]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    infra = ("tests/integration/infra/requirements.txt", "tests/integration/infra/checkov.txt")
    files = (
        "tests/integration/ministack.txt",
        "tests/api/requirements.txt",
        "tests/bench/lambda.txt",
        "infra/lock.txt",
        "tests/integration/console/requirements.txt",
        "tests/integration/federation_sdks/requirements.txt",
        *infra,
    )
    own = [name for file in files for name in re.findall(r"^([\w-]+)", (ROOT / file).read_text(), re.MULTILINE)]
    lines = [line for one in (ROOT / "tests/sdks/requirements").glob("*.txt") for line in one.read_text().splitlines()]
    clients = {line.partition(">")[0] for line in lines}
    sdks = ROOT / "tests/sdks"
    for package in (
        ROOT / "tests/integration/console/package.json",
        sdks / "node/package.json",
        *(sdks / "agents").glob("*/package.json"),
    ):
        clients |= json.loads(package.read_text())["dependencies"].keys()
    assert sorted(reasons) == sorted([*stated, *own, *clients])
