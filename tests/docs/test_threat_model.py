"""Every test that a page or a SECURITY comment names exists, and the threat model's tables are complete."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
PAGES = sorted(page for pattern in ("*.md", "docs/**/*.md") for page in ROOT.glob(pattern))
SOURCES = sorted(
    path
    for pattern in ("*.py", "chalicelib/**/*.py", "local/**/*.py", "keybroker/**/*.py", "infra/**/*.py")
    for path in ROOT.glob(pattern)
)
FILES = [path for path in ROOT.glob("tests/**/test_*.py") if "node_modules" not in path.parts]
MARK = "SECURITY:"


def functions(path: Path) -> set[str]:
    """Return the names of the tests in a file, including those in classes."""
    return set(re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


TESTS = {name for path in FILES for name in functions(path)} | {path.name for path in FILES}


def named(text: str) -> list[str]:
    """Return the tests that a text names in backticks."""
    return re.findall(r"`(test_\w+)`", text)


def moves() -> Iterator[list[str]]:
    """Yield the cells of each row in the threat model's tables of moves: the move, by, what stops it, shown by."""
    inside = False
    for line in PAGE.splitlines():
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        inside = line.startswith("|") and (inside or cells == ["Move", "By", "Stops it", "Shown by"])
        if inside and cells[0] != "Move" and not line.startswith("|--"):
            yield cells


def comments(source: str) -> dict[int, str]:
    """Return each SECURITY comment with its continuation lines, by the line it begins at."""
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
    """Return the tests, files of tests and vector files that a comment names and that do not exist."""
    tests = re.findall(r"\btest_\w+(?:\.py)?", comment)
    vectors = re.findall(r"\bvectors/\w+\.json", comment)
    absent = [one for one in tests if one not in TESTS]
    return absent + [one for one in vectors if not (ROOT / "tests" / one).is_file()]


def test_pages_name_existing_tests() -> None:
    """Every test that a page names in backticks exists."""
    names = {(page.name, name) for page in PAGES for name in named(page.read_text(encoding="utf-8"))}
    assert len(names) > 100
    assert sorted((page, name) for page, name in names if name not in TESTS) == []


def test_moves_are_complete() -> None:
    """Every move names its attackers, what stops it, and a test that shows it, or says that none does."""
    attackers = set(re.findall(r"^\| ([A-Z]) \| ", PAGE, re.MULTILINE))
    rows = list(moves())
    assert len(rows) > 100
    for row in rows:
        assert len(row) == 4, row
        assert set(row[1].split(", ")) <= attackers, row
        assert row[2], row
        assert named(row[3]) or row[3].endswith("*none*"), row


def test_security_comments_name_existing_tests() -> None:
    """Every test, file of tests or vector file that a SECURITY comment names exists."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in SOURCES)
    found = {
        (path.name, line): missing(one) for path, text in texts if MARK in text for line, one in comments(text).items()
    }
    assert len(found) > 50
    assert {place: names for place, names in found.items() if names} == {}


def test_missing_names_are_found() -> None:
    """A SECURITY comment that names what does not exist is found, over all of its lines and no further."""
    source = "x = 1  # SECURITY: a rule (vectors/none.json)\n# of two lines (test_none_such, test_threat_model.py)\n\n# test_other\n"
    assert [missing(one) for one in comments(source).values()] == [["test_none_such", "vectors/none.json"]]
