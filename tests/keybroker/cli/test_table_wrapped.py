"""Text on several lines, of which nothing is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.plain_text import width
from keybroker.cli.table import record, wrapped


def test_later_lines_are_indented() -> None:
    """Words that do not fit go on below, indented; a file or a pipe has one line."""
    assert wrapped("one two three", 9) == ["one two", "  three"]
    assert wrapped("one two three", None) == ["one two three"]


def test_a_long_word_goes_on() -> None:
    """A word that is longer than a line is told whole."""
    assert wrapped("a 0123456789", 6) == ["a", "  0123", "  4567", "  89"]


def test_each_value_has_a_line() -> None:
    """Values are below each other beside their name, whole at every width."""
    members = [("claims", ["repository_id=1 or 2 or 3", "ref=x"]), ("scope", ["GET:/v1"])]
    assert record(members, 80) == [
        "claims  repository_id=1 or 2 or 3",
        "        ref=x",
        "scope   GET:/v1",
    ]
    assert record(members, 24) == [
        "claims  repository_id=1",
        "          or 2 or 3",
        "        ref=x",
        "scope   GET:/v1",
    ]


@given(st.text(st.characters(exclude_categories=["C", "Z", "M"])), st.integers(6, 60))
def test_nothing_is_left_out(text: str, columns: int) -> None:
    """No line is too wide, and together they are the text."""
    lines = wrapped(text, columns)
    assert max(map(width, lines)) <= columns
    assert "".join(line.strip() for line in lines) == text
