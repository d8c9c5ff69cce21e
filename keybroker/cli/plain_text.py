"""Text from elsewhere, made fit for a terminal, and how wide it is there."""

from __future__ import annotations

import unicodedata

_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: object) -> str:
    """Return the text on one line, with every control character spelt out: names come from whoever asked for a token."""
    # SECURITY: an escape sequence in a claim must not repaint an administrator's terminal (test_plain_text.py).
    return "".join(_spelt(one) if unicodedata.category(one) in _CONTROL else one for one in str(text))


def width(text: str) -> int:
    """Return how many columns a terminal gives a text without control characters."""
    return sum(_columns(one) for one in text)


def _columns(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in ("W", "F") else 1


def _spelt(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
