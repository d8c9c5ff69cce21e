from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.plain_text import width
from keybroker.cli.shortened import Shortened
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
    """A terminal that is too narrow for shortened columns gets one record below the other, whole."""
    assert table(HEADINGS, ROWS[:2], 15) == ["name    octo-org/octo-repo", "grants  ci", "", "name    値", "grants  -"]
    assert table(HEADINGS, ROWS, 17)[0].startswith("NAME")


def test_what_is_too_wide_loses_its_middle() -> None:
    """Columns that do not fit are shortened, the widest first, and show the beginning and the end."""
    assert table(HEADINGS, ROWS[:2], 20)[1:] == ["octo-…o-repo  ci", "値            -"]


def test_a_terminal_gets_the_short_form() -> None:
    """A value with a short form is shown as that on a terminal, and whole elsewhere."""
    row = (Shortened("https://ci.example|repository_id:1", "repository_id:1"), "ci")
    assert table(HEADINGS, [row], 80)[1] == "repository_id:1  ci"
    assert table(HEADINGS, [row], None)[1] == "https://ci.example|repository_id:1  ci"


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


def test_what_differs_is_seen_to() -> None:
    """Two values that would look the same once they are shortened show where they differ."""
    rows = [(f"system:serviceaccount:{one}:recommendations", "x") for one in ("production", "staging", "production")]
    assert [line.split()[0] for line in table(HEADINGS, rows, 20)[1:]] == [
        "…production…",
        "…staging:re…",
        "…production…",
    ]
