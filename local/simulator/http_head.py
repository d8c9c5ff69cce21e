"""The head of a message as bytes: a first line and headers, each as it is."""

import re
from typing import Final

_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def head(lines: list[str]) -> bytes:
    """Return the head of a message; raises ValueError for what would break a line, or cannot be encoded."""
    # SECURITY: no value makes a line of its own (test_nothing_makes_a_line_of_its_own).
    text = "".join(lines)
    if not text.isprintable() and _FORBIDDEN.search(text):  # the first is quick, and few heads have what is not
        raise ValueError("a control character in the head of a message")
    return "\r\n".join([*lines, "", ""]).encode()
