"""How the demo speaks to a person: 80 columns, secrets masked, colours on a terminal only.

Rules: each step has a title, what happened in a sentence, what was on the wire (`->` sent, `<-` answered), and one
closing line with what was checked and how long the step took.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

WIDTH = 79
_INDENT = "   "
_BOLD, _DIM, _GREEN = "1", "2", "32"


def mask(secret: str) -> str:
    """Return what can be shown of a secret: enough to tell two apart, too little to use."""
    # SECURITY: a token's first characters say only that it is a JWT (test_no_secret_is_shown_whole).
    head = secret.rfind("-") + 1 if secret.startswith("sk-") else 9
    if len(secret) < head + 16:
        return f"{secret[:4]}…"
    return f"{secret[:head]}…{secret[-4:]}"


class Unheard(Exception):  # noqa: N818  nobody's fault
    """Whoever read along has closed the pipe."""


class Narrator:
    """Writes the story to a stream; every method raises Unheard. environment: NO_COLOR and TERM=dumb are obeyed."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        self._colours = stream.isatty() and not plain

    def title(self, text: str) -> None:
        """Open the story, or a step of it."""
        self._line("")
        self._line(self._in(_BOLD, text))

    def say(self, text: str) -> None:
        """Say what happens."""
        for line in textwrap.wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT):
            self._line(line)

    def sent(self, text: str) -> None:
        """Show what went over the wire."""
        self._wire("->", text)

    def answered(self, text: str) -> None:
        """Show what came back."""
        self._wire("<-", text)

    def facts(self, pairs: Mapping[str, object]) -> None:
        """Show names and values, aligned."""
        width = max(map(len, pairs))
        for name, value in pairs.items():
            self._line(self._in(_DIM, f"{_INDENT}   {name:<{width}}  {value}"))

    def words(self, pieces: Iterable[str]) -> None:
        """Write a text while it arrives, wrapped."""
        column, lead = len(_INDENT), _INDENT
        try:
            for piece in pieces:
                if column + len(piece) > WIDTH:
                    lead, column = f"\n{_INDENT}", len(_INDENT)
                    piece = piece.lstrip()  # noqa: PLW2901  a line starts with a word, not with the space before it
                self._write(lead + piece)
                lead, column = "", column + len(piece)
        finally:
            self._line("")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show a table, its columns as wide as they must be."""
        all_rows = [head, *rows]
        widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
        for row in all_rows:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            self._line(self._in(_BOLD if row is head else _DIM, f"{_INDENT}{line}".rstrip()))

    def done(self, text: str, seconds: float) -> None:
        """Close a step with what was checked."""
        took = f"{seconds * 1000:.0f} ms"
        hanging = " " * (len(_INDENT) + len("ok ") + len(took) + 2)
        lines = textwrap.wrap(text, WIDTH - len(hanging))
        self._line(f"{_INDENT}{self._in(_GREEN, 'ok')} {took}  {lines[0]}")
        for line in lines[1:]:
            self._line(hanging + line)

    def end(self, text: str) -> None:
        """Close the story."""
        self._line("")
        self._line(self._in(_GREEN, text))

    def _wire(self, arrow: str, text: str) -> None:
        lead, hanging = f"{_INDENT}{arrow} ", f"{_INDENT}   "
        for line in textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=hanging, break_on_hyphens=False):
            self._line(self._in(_DIM, line))

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _line(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise Unheard from None
