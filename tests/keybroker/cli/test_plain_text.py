from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.plain_text import plain, width


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    """No control character and no line break is left."""
    shown = plain(text)
    assert not [one for one in shown if unicodedata.category(one).startswith(("C", "Zl", "Zp"))]
    assert len(shown.splitlines()) <= 1


def test_escape_sequences_are_escaped() -> None:
    """An escape sequence is shown as text."""
    assert plain("\x1b[2Jgone\r\n\u202e\x9b") == "\\x1b[2Jgone\\r\\n\\u202e\\x9b"


def test_text_of_any_language_is_unchanged() -> None:
    """Ordinary text of any language is unchanged."""
    assert plain("Größe 値 🔑 a/b:c") == "Größe 値 🔑 a/b:c"
    assert plain(12) == "12"


def test_wide_characters_take_two_columns() -> None:
    """Wide characters take two columns, combining ones none."""
    assert [width(one) for one in ("abc", "値", "e\u0301", "")] == [3, 2, 1, 0]
