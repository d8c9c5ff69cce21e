"""What says which test shows something names one that there is: docs/threat-model.md, and comments in the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
SOURCES = sorted(
    path
    for pattern in ("*.py", "chalicelib/**/*.py", "local/**/*.py", "keybroker/**/*.py", "infra/**/*.py")
    for path in ROOT.glob(pattern)
)
FILES = [path for path in ROOT.glob("tests/**/test_*.py") if "node_modules" not in path.parts]
MARK = "SECURITY:"


def functions(path: Path) -> set[str]:
    """Return the names of the tests in a file, those in classes too."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in names if name.startswith("test_")}


TESTS = {name for path in FILES for name in functions(path)} | {path.name for path in FILES}


def named(text: str) -> list[str]:
    """Return the tests that a text names in backticks."""
    return re.findall(r"`(test_\w+)`", text)


def moves() -> Iterator[list[str]]:
    """Yield the cells of each row of the page's tables of moves: the move, by whom, what stops it, shown by."""
    inside = False
    for line in PAGE.splitlines():
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        inside = line.startswith("|") and (inside or cells == ["Move", "By", "Stops it", "Shown by"])
        if inside and cells[0] != "Move" and not line.startswith("|--"):
            yield cells


def comments(source: str) -> dict[int, str]:
    """Return each comment with the mark, as far as it goes over lines of its own, by the line that it begins at."""
    found: dict[int, str] = {}
    begun, last = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if MARK in token.string:
            begun = line
            found[begun] = token.string
        elif begun and line == last + 1:
            found[begun] += token.string
        else:
            begun = 0
        last = line
    return found


def missing(comment: str) -> list[str]:
    """Return what a comment names that is not there: tests, files of tests, vectors."""
    tests = re.findall(r"\btest_\w+(?:\.py)?", comment)
    vectors = re.findall(r"\bvectors/\w+\.json", comment)
    absent = [one for one in tests if one not in TESTS]
    return absent + [one for one in vectors if not (ROOT / "tests" / one).is_file()]


def test_every_test_that_the_page_names_is_there() -> None:
    assert len(named(PAGE)) > 100
    assert sorted(set(named(PAGE)) - TESTS) == []


def test_every_move_says_who_makes_it_what_stops_it_and_what_shows_that() -> None:
    attackers = set(re.findall(r"^\| ([A-Z]) \| ", PAGE, re.MULTILINE))
    rows = list(moves())
    assert len(rows) > 100
    for row in rows:
        assert len(row) == 4, row
        assert set(row[1].split(", ")) <= attackers, row
        assert row[2], row
        assert named(row[3]) or row[3].endswith("*none*"), row


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_security_comment_names_is_there(path: Path) -> None:
    found = {line: missing(comment) for line, comment in comments(path.read_text(encoding="utf-8")).items()}
    assert {line: names for line, names in found.items() if names} == {}


def test_a_name_that_is_not_there_is_found() -> None:
    source = "x = 1  # SECURITY: a rule (vectors/none.json)\n# of two lines (test_none_such, test_threat_model.py)\n\n# test_other\n"
    assert [missing(one) for one in comments(source).values()] == [["test_none_such", "vectors/none.json"]]
