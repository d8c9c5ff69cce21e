"""Numbers as a line of bars, for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN: Final = "_.-=+*#@"
"""The same for a terminal that has no others."""


def sparkline(numbers: Sequence[int]) -> str:
    """Return a bar for each number, the highest for the largest of them; the lowest is for zero alone."""
    bars = _BARS if _shows(_BARS) else _PLAIN
    most = max(numbers, default=0)
    return "".join(bars[-(-number * (len(bars) - 1) // most) if most else 0] for number in numbers)


def _shows(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
