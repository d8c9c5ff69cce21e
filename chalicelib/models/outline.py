"""The outline of a long body: all that says which model it runs, without the long texts and files in between.

It is made of the body's pieces as they arrive, and a reader of models finds in it what it would find in the whole: of JSON
every member, object and short string stays, and of a form every boundary, and the beginning of each part.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Protocol

from chalicelib.models import multipart
from chalicelib.models.body import BEGINNING, LEFT_OUT, TOO_LONG

LONGEST = 256
"""Bytes of a JSON string that stays as it is; some longer ones stay, too."""
MOST = 4 * 1024**2
"""Bytes of an outline."""

_PLAIN, _ESCAPED = rb'[^"\\\x00-\x1f]', rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
# Only single characters repeat possessively: Python before 3.11.5, as Debian 12 has it, matches too little where a group does
# that may backtrack (python/cpython#106052). What follows a group cannot match in it, so that greedy is the same.
_TEXT = re.compile(b"%b*+(?:%b%b*+)*" % (_PLAIN, _ESCAPED, _PLAIN))
_SHORT = re.compile(b'(?:[^"]*+"%b{0,254}+(?:%b%b{0,254}+){0,8}")*' % (_PLAIN, _ESCAPED, _PLAIN))
"""As much as has no long string, read at once: a piece may have thousands of short ones."""
_ESCAPE = 6
"""Bytes of the longest escape, as in "\\u0000"."""
_QUOTE = ord('"')


class Outline(Protocol):
    """An outline in the making. `fault`: why the body has none, in words; "" as long as it may have one."""

    fault: str

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""

    def end(self) -> bytes:
        """Return the outline of all pieces; of no meaning if there is a `fault` then."""


def of(content_types: Sequence[str], content_encodings: Sequence[str]) -> Outline | None:
    """Return the outline to be made of a body with these headers; None if it is no form and no JSON, or not plain."""
    if content_encodings or len(content_types) != 1:
        return None
    boundary = multipart.boundary_of(content_types[0])
    if boundary:
        return FormOutline(boundary)
    return JsonOutline() if "json" in content_types[0].lower() else None


class _Kept:
    """What is kept of a body."""

    def __init__(self) -> None:
        self.fault = ""
        self._kept: list[bytes] = []
        self._size = 0

    def _keep(self, piece: bytes) -> None:
        self._kept.append(piece)
        self._size += len(piece)
        if self._size > MOST:
            self.fault = TOO_LONG
            self._kept.clear()


class JsonOutline(_Kept):
    """The outline of JSON. What is outside of strings stays, and so do short strings."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = b""
        self._is_long = self._was_long = False

    def feed(self, piece: bytes) -> None:
        """See `Outline.feed`."""
        self._decode(piece)
        data, at, self._rest = self._rest + piece, 0, b""
        while at < len(data) and not self.fault:
            at = self._within(data, at) if self._is_long else self._around(data, at)

    def end(self) -> bytes:
        """See `Outline.end`."""
        self._decode(b"", final=True)
        if self._rest or self._is_long:
            self.fault = self.fault or "it ends in a string"
        return b"".join(self._kept)

    def _decode(self, piece: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            self.fault = self.fault or "it must be UTF-8"

    def _around(self, data: bytes, at: int) -> int:
        """Keep what is before the next long string, and the place of that; return where it is to be read on."""
        if self._was_long and (first := data[at:].lstrip(b" \t\n\r")[:1]):
            # SECURITY: what a member is called is never left out (test_long_names_are_refused).
            if first == b":":
                self.fault = "a member's name is too long"
            self._was_long = False
        short = _SHORT.match(data, at)
        start = data.find(b'"', short.end() if short else at)
        self._keep(data[at:] if start < 0 else data[at:start])
        return len(data) if start < 0 else self._begin(data, start)

    def _begin(self, data: bytes, start: int) -> int:
        end = _end_of_text(data, start + 1)
        if end - start > LONGEST:
            self._keep(rb'"\u0000(left out)"')
            self._is_long = True
            return end
        if end < len(data) and data[end] == _QUOTE:
            self._keep(data[start : end + 1])
            return end + 1
        return self._wait(data, start, end)

    def _within(self, data: bytes, at: int) -> int:
        """Leave out what there is of a long string."""
        end = _end_of_text(data, at)
        if end < len(data) and data[end] == _QUOTE:
            self._is_long, self._was_long = False, True
            return end + 1
        return self._wait(data, end, end)

    def _wait(self, data: bytes, start: int, end: int) -> int:
        """Read on from `start` once there is more: up to `end` this is text, and what follows may be half an escape."""
        # SECURITY: what no strict parser takes has no outline (test_malformed_strings_have_no_outline).
        if data[end : end + 1] not in (b"", b"\\") or len(data) - end >= _ESCAPE:
            self.fault = "a string has a control character or an unknown escape"
        self._rest = data[start:]
        return len(data)


class FormOutline(_Kept):
    """The outline of a multipart form: every boundary with the two bytes before it, and the beginning of each part."""

    def __init__(self, boundary: str) -> None:
        super().__init__()
        self._mark = b"--" + boundary.encode()
        self._rest = self._last = b""
        self._room, self._is_cut = BEGINNING, False

    def feed(self, piece: bytes) -> None:
        """See `Outline.feed`."""
        data, at = self._rest + piece, 0
        while (found := data.find(self._mark, at)) >= 0 and not self.fault:
            self._content(data[at:found])
            self._end_of_part()
            self._keep(self._mark)
            at = found + len(self._mark)
        whole = max(at, len(data) - len(self._mark) + 1)  # behind it the next boundary may have begun
        self._content(data[at:whole])
        self._rest = data[whole:]

    def end(self) -> bytes:
        """See `Outline.end`."""
        self._content(self._rest)
        self._end_of_part()
        return b"".join(self._kept)

    def _content(self, piece: bytes) -> None:
        self._keep(piece[: self._room])
        self._is_cut = self._is_cut or len(piece) > self._room
        self._room -= min(self._room, len(piece))
        self._last = (self._last + piece[-2:])[-2:]

    def _end_of_part(self) -> None:
        if self._is_cut:
            # SECURITY: a boundary counts only behind a line end, which stays (test_a_boundary_within_a_file_is_seen).
            self._keep(LEFT_OUT.encode() + self._last)
        self._room, self._is_cut, self._last = BEGINNING, False, b""


def _end_of_text(data: bytes, at: int) -> int:
    found = _TEXT.match(data, at)
    return found.end() if found else at
