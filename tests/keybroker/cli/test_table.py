from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.plain_text import width
from keybroker.cli.table import pairs, table

HEADINGS = ("name", "grants")
ROWS = [("octo-org/octo-repo", "ci"), ("値", ""), ("x", "a, b")]


def test_columns_are_aligned() -> None:
    """Columns are aligned, whatever their letters."""
    assert table(HEADINGS, ROWS, None) == [
        "NAME                GRANTS",
        "octo-org/octo-repo  ci",
        "値                  -",
        "x                   a, b",
    ]


def test_a_narrow_terminal_gets_records() -> None:
    """A terminal that is too narrow gets one record below the other."""
    assert table(HEADINGS, ROWS[:2], 25) == ["name    octo-org/octo-repo", "grants  ci", "", "name    値", "grants  -"]
    assert table(HEADINGS, ROWS, 26)[0].startswith("NAME")


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1), st.integers(1, 120))
def test_no_table_is_too_wide(rows: list[tuple[str, str]], columns: int) -> None:
    """No table is wider than the terminal, and no cell is lost."""
    lines = table(HEADINGS, rows, columns)
    if lines[0].startswith("NAME"):
        assert max(map(width, lines)) <= columns
        assert len(lines) == len(rows) + 1
    else:
        assert len(lines) == 3 * len(rows) - 1


def test_a_cell_is_escaped() -> None:
    """A cell cannot add a line or an escape sequence."""
    assert table(HEADINGS, [("a\nb", "\x1b[31m")], None)[1:] == ["a\\nb  \\x1b[31m"]


def test_values_are_aligned() -> None:
    """Names and values are aligned."""
    assert pairs([("a", 1), ("long", "x y")]) == ["a     1", "long  x y"]
    assert pairs([]) == []
