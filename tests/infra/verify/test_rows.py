"""The table in docs/deploy.md and `make verify` say the same of each row."""

from __future__ import annotations

import re

from infra.verify.rows import ROWS
from tests.running import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_the_table_and_the_program_agree() -> None:
    """The page's rows are the program's, in its order, each with what the program does about it."""
    table = PAGE.partition("## Not yet verified on AWS")[2].partition("|---|---|---|---|\n")[2]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert [(row[0], row[3]) for row in rows] == [(row.name, row.by) for row in ROWS]
    assert all(len(row) == 4 and row[1] and row[2] for row in rows)


def test_a_row_without_a_check_says_why() -> None:
    assert all(row.check or row.why for row in ROWS)
    assert re.search(r"^make verify STAGE=test KEY=openai$", PAGE, re.MULTILINE)
    assert re.search(r"^verify:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
