"""Makes untrusted text safe for a terminal, and measures its width there."""

from __future__ import annotations

import unicodedata

_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: object) -> str:
    """Return the text on one line, with control characters escaped: names come from callers' tokens."""
    # SECURITY: an escape sequence in a claim must not control an administrator's terminal (test_plain_text.py).
    return "".join(_escaped(char) if unicodedata.category(char) in _CONTROL else char for char in str(text))


def width(text: str) -> int:
    """Return how many columns a terminal gives a text without control characters."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
