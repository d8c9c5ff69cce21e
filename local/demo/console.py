"""The demo's output: 80 columns, secrets masked, colours on a terminal only.

Each step has a title, a sentence on what happens, the HTTP requests (`->`) and responses (`<-`), and a last line that
says what was checked and how long the step took.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

WIDTH = 79
_INDENT = "   "
_BOLD, _DIM, _GREEN = "1", "2", "32"


def mask(secret: str) -> str:
    """Return an excerpt of a secret: enough to tell two apart, too little to use."""
    # SECURITY: a token's first characters say only that it is a JWT (test_secrets_are_masked).
    head = secret.rfind("-") + 1 if secret.startswith("sk-") else 9
    if len(secret) < head + 16:
        return f"{secret[:4]}…"
    return f"{secret[:head]}…{secret[-4:]}"


class OutputClosedError(Exception):
    """The reader of stdout closed the pipe, as `head` does."""


class Console:
    """Prints to a stream. Every method raises OutputClosedError. environment: NO_COLOR and TERM=dumb turn colours off."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        self._colours = stream.isatty() and not plain

    def title(self, text: str) -> None:
        """Print the demo's title, or a step's."""
        self._line("")
        self._line(self._in_colour(_BOLD, text))

    def paragraph(self, text: str) -> None:
        """Print a sentence, wrapped."""
        for line in textwrap.wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT):
            self._line(line)

    def request(self, text: str) -> None:
        """Print an HTTP request."""
        self._arrow("->", text)

    def response(self, text: str) -> None:
        """Print an HTTP response."""
        self._arrow("<-", text)

    def fields(self, pairs: Mapping[str, object]) -> None:
        """Print names and values, aligned."""
        width = max(map(len, pairs))
        for name, value in pairs.items():
            self._line(self._in_colour(_DIM, f"{_INDENT}   {name:<{width}}  {value}"))

    def stream(self, chunks: Iterable[str]) -> None:
        """Print a text as it arrives, wrapped."""
        column, lead = len(_INDENT), _INDENT
        try:
            for chunk in chunks:
                if column + len(chunk) > WIDTH:
                    lead, column = f"\n{_INDENT}", len(_INDENT)
                    chunk = chunk.lstrip()  # noqa: PLW2901  a line starts with a word, not with the space before it
                self._write(lead + chunk)
                lead, column = "", column + len(chunk)
        finally:
            self._line("")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table with columns as wide as their longest cell."""
        all_rows = [head, *rows]
        widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
        for row in all_rows:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            self._line(self._in_colour(_BOLD if row is head else _DIM, f"{_INDENT}{line}".rstrip()))

    def passed(self, text: str, seconds: float) -> None:
        """Print a step's last line: what was checked, and how long the step took."""
        took = f"{seconds * 1000:.0f} ms"
        hanging = " " * (len(_INDENT) + len("ok ") + len(took) + 2)
        lines = textwrap.wrap(text, WIDTH - len(hanging))
        self._line(f"{_INDENT}{self._in_colour(_GREEN, 'ok')} {took}  {lines[0]}")
        for line in lines[1:]:
            self._line(hanging + line)

    def finished(self, text: str) -> None:
        """Print the demo's last line."""
        self._line("")
        self._line(self._in_colour(_GREEN, text))

    def _arrow(self, arrow: str, text: str) -> None:
        lead, hanging = f"{_INDENT}{arrow} ", f"{_INDENT}   "
        for line in textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=hanging, break_on_hyphens=False):
            self._line(self._in_colour(_DIM, line))

    def _in_colour(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _line(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise OutputClosedError from None
