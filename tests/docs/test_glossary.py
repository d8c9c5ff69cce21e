"""docs/glossary.md names code that exists."""

from __future__ import annotations

import re

import pytest

from tests.running import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
NAMED = re.findall(r"^\| \*\*(.+?)\*\*.* \| `(\w+)` in `([\w/.]+)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("word", "name", "path"), NAMED)
def test_code_name_exists(word: str, name: str, path: str) -> None:
    """Every name that the glossary gives a word occurs in the file that it gives for it."""
    assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), word


def test_every_row_is_read() -> None:
    """Every row of the glossary ends with code, by name and file or by directory."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| **")]
    assert len(rows) == len(NAMED) + len([row for row in rows if re.search(r"\| `[\w/]+/` \|$", row)])
