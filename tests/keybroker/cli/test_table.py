from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from keybroker.cli.plain_text import width
from keybroker.cli.table import pairs, table

HEADINGS = ("name", "grants")
ROWS = [("octo-org/octo-repo", "ci"), ("値", ""), ("x", "a, b")]


def test_columns_stand_below_each_other_whatever_their_letters() -> None:
    assert table(HEADINGS, ROWS, None) == [
        "NAME                GRANTS",
        "octo-org/octo-repo  ci",
        "値                  -",
        "x                   a, b",
    ]


def test_a_terminal_that_is_too_narrow_gets_one_record_below_the_other() -> None:
    assert table(HEADINGS, ROWS[:2], 25) == ["name    octo-org/octo-repo", "grants  ci", "", "name    値", "grants  -"]
    assert table(HEADINGS, ROWS, 26)[0].startswith("NAME")


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1), st.integers(1, 120))
def test_no_table_is_wider_than_the_terminal_and_no_cell_is_lost(rows: list[tuple[str, str]], columns: int) -> None:
    lines = table(HEADINGS, rows, columns)
    if lines[0].startswith("NAME"):
        assert max(map(width, lines)) <= columns
        assert len(lines) == len(rows) + 1
    else:
        assert len(lines) == 3 * len(rows) - 1


def test_a_cell_cannot_add_a_line_or_an_escape_sequence() -> None:
    assert table(HEADINGS, [("a\nb", "\x1b[31m")], None)[1:] == ["a\\nb  \\x1b[31m"]


def test_names_and_values_stand_below_each_other() -> None:
    assert pairs([("a", 1), ("long", "x y")]) == ["a     1", "long  x y"]
    assert pairs([]) == []
