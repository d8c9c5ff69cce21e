"""The head of a message as bytes: a first line and headers, each as it is."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Fields(NamedTuple):
    """The headers of a message as they are written. names: of all of them, in lower case."""

    lines: list[str]
    names: frozenset[str]

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str]]) -> Self:
        """Write headers."""
        pairs = [*headers]
        return cls([f"{name}: {value}" for name, value in pairs], frozenset(name.lower() for name, _ in pairs))

    def pairs(self) -> list[tuple[str, str]]:
        """Return names and values."""
        return [(name, value) for name, _, value in (line.partition(": ") for line in self.lines)]


def head(lines: list[str], errors: str = "strict") -> bytes:
    """Return the head of a message; raises ValueError for what would break a line, or cannot be encoded.

    errors: `surrogateescape` for lines of another message, whose bytes were read so.
    """
    # SECURITY: no value makes a line of its own (test_nothing_makes_a_line_of_its_own).
    text = "".join(lines)
    if not text.isprintable() and _FORBIDDEN.search(text):  # the first is quick, and few heads have what is not
        raise ValueError("a control character in the head of a message")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", errors)
