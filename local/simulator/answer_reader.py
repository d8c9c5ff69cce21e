"""Reads on the side what an answer says of its usage, while its bytes go on as they are: never all of it, and never for long."""

from __future__ import annotations

import importlib
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

WHOLE: Final = 64 * 1024
"""Bytes of JSON that are read whole; of a longer answer its beginning and its end, so many bytes each, are looked through."""
LINE: Final = 1024**2
"""Bytes of one line of a stream."""
EXPANDED: Final = 32
"""Times its size, and GROWN bytes, that one piece of a compressed answer may become."""
GROWN: Final = 32 * 1024
_SAYS_IT: Final = re.compile(rb'"usage(?:Metadata)?"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
"""It begins with plain text, which is found without a look at every quote."""
_LINE_SAYS_IT: Final = re.compile(rb'^data:[^\n]*?"usage(?:Metadata)?"[ \t\r]*:[ \t\r]*\{[^\n]*', re.MULTILINE)
"""A line of a stream that says it."""
_NAMES_MODEL: Final = re.compile(rb'"(model|modelVersion)"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,100})"')


_DECODER: Final = json.JSONDecoder()


class Unreadable(Exception):  # noqa: N818  what an answer is, no error of ours
    """The answer, or what is left of it, cannot be read."""


class Lines:
    """The first and the last line of a stream of events that speak of usage. waiting: what has no end of its line yet."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self._first: bytes | None = None
        self._last: bytes | None = None

    def feed(self, piece: bytes) -> None:
        """Look at the next piece; raises Unreadable for a line without an end."""
        # SECURITY: a line in many pieces is not copied for each of them (test_a_long_line_in_small_pieces_is_cheap).
        self.waiting += piece
        if b"\n" in piece:
            whole, _, self.waiting = self.waiting.rpartition(b"\n")
            # Of the events of a stream one or two speak of it, so that this is all there is to do for the others.
            if _SAYS_IT.search(whole):
                self._note(whole)
        if len(self.waiting) > LINE:
            raise Unreadable

    def documents(self) -> Iterable[object]:
        """Return what those two lines say, once the stream is over."""
        self._note(self.waiting)
        if self._first is not None:
            yield from _parsed(self._first.partition(b":")[2])
        if self._last is not None:
            yield from _parsed(self._last.partition(b":")[2])

    def _note(self, lines: bytearray) -> None:
        for found in _LINE_SAYS_IT.finditer(lines):
            if self._first is None:
                self._first = bytes(found[0])
            else:
                self._last = bytes(found[0])


class _Document:
    """A JSON document, or a list of them."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), b""

    def feed(self, piece: bytes) -> None:
        room = WHOLE - len(self._head)
        if room:
            self._head += piece[:room]
        if len(piece) > room:
            self._tail = (self._tail + piece[room:])[-WHOLE:]

    def documents(self) -> Iterable[object]:
        yield from _parsed(bytes(self._head), self._tail)


def _parsed(head: bytes, tail: bytes = b"") -> Iterator[object]:
    """Return what JSON says, or a list of JSON, as far as it matters. tail: the end of one that is longer than its head."""
    # Within a string each quote has a backslash before it, so that no text can pass for a member.
    for part in (tail, head):
        if found := deque(_SAYS_IT.finditer(part), maxlen=1):
            # Only what is wanted is read: all of an answer would take several times as long.
            if model := _NAMES_MODEL.search(head):
                yield {model[1].decode(): model[2].decode("utf-8", "replace")}
            yield _member(part, found[0])
            return
    if len(head) < WHOLE and not tail:
        whole = json.loads(head.decode())
        yield from whole if isinstance(whole, list) else [whole]


def _member(part: bytes, found: re.Match[bytes]) -> dict[str, object]:
    name = found[0].split(b'"')[1].decode()
    value, _ = _DECODER.raw_decode(part[found.end() :].decode("utf-8", "replace"))
    return {name: value}


def _most(piece: bytes) -> int:
    # SECURITY: what is read on the event loop grows with what was sent (test_many_lines_in_little_are_cheap).
    return GROWN + EXPANDED * len(piece)


class _Inflater:
    """gzip and deflate, as one piece after another."""

    def __init__(self) -> None:
        self._inflate: Any = zlib.decompressobj(47)  # either header

    def __call__(self, piece: bytes) -> bytes:
        found: bytes = self._inflate.decompress(piece, _most(piece))
        if self._inflate.unconsumed_tail:
            raise Unreadable
        return found


class _Zstandard:
    """zstd, where Python has it (from 3.14 on)."""

    def __init__(self) -> None:
        try:
            self._expand: Any = importlib.import_module("compression.zstd").ZstdDecompressor()
        except ImportError:
            raise Unreadable from None

    def __call__(self, piece: bytes) -> bytes:
        found: bytes = self._expand.decompress(piece, _most(piece))
        if not (self._expand.needs_input or self._expand.eof):
            raise Unreadable
        return found


class _Reader(Protocol):
    def feed(self, piece: bytes) -> None: ...
    def documents(self) -> Iterable[object]: ...


_DECODERS: Final[dict[str, Callable[[], Callable[[bytes], bytes]]]] = {
    "gzip": _Inflater,
    "x-gzip": _Inflater,
    "deflate": _Inflater,
    "zstd": _Zstandard,
}


class AnswerReader:
    """One answer, as it passes. Nothing that an answer holds makes a method raise."""

    def __init__(self, content_type: str, content_encoding: str) -> None:
        media_type = content_type.partition(";")[0].strip().lower()
        self._reader: _Reader | None = None
        self._decode: Callable[[bytes], bytes] | None = None
        if media_type == "text/event-stream":
            self._reader = Lines()
        elif media_type.endswith("json"):
            self._reader = _Document()
        encoding = content_encoding.strip().lower()
        if encoding not in ("", "identity"):
            self._trying(lambda: self._set_decoder(encoding))

    def feed(self, piece: bytes) -> None:
        """Look at the next piece."""
        reader, decode = self._reader, self._decode
        if reader is not None:
            self._trying(lambda: reader.feed(decode(piece) if decode else piece))

    def documents(self) -> list[object]:
        """Return what of the answer speaks of its usage, as JSON; nothing if it cannot be read."""
        found: list[object] = []
        reader = self._reader
        if reader is not None:
            self._trying(lambda: found.extend(reader.documents()))
        return found if self._reader else []

    def _set_decoder(self, encoding: str) -> None:
        if encoding not in _DECODERS:
            raise Unreadable
        self._decode = _DECODERS[encoding]()

    def _trying(self, step: Callable[[], None]) -> None:
        # SECURITY: an answer that cannot be read goes on all the same (test_nothing_in_an_answer_fails_the_call).
        try:
            step()
        except Exception:  # noqa: BLE001  whatever it is: its usage is unknown, and that is counted
            self._reader = None
