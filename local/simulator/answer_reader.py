"""Reads on the side what an answer says of its usage, while its bytes go on as they are: never all of it, and never for long."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from local.simulator.answer_decoders import Unreadable, decoder

WHOLE: Final = 64 * 1024
"""Bytes of JSON that are read whole; of a longer answer its beginning and its end, so many bytes each, are looked through."""
MEMBERS: Final = 100
"""Of one answer that speak of usage."""
PIECES: Final = 64
"""Pieces of an answer that are looked at together, and WHOLE bytes of them."""
LINE: Final = 1024**2
"""Bytes of one line of a stream."""
_SAYS_IT: Final = re.compile(rb'"usage(?:Metadata)?"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
"""It begins with plain text, which is found without a look at every quote."""
_MAY_SAY_IT: Final = b'"usage'
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NAMES_MODEL: Final = re.compile(rb'"(model|modelVersion)"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,100})"')
_DECODER: Final = json.JSONDecoder()


class Lines:
    """The first and the last line of a stream of events that speak of usage. waiting: what has no end of its line yet."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self._first: bytes | None = None
        self._last: bytes | None = None

    def feed(self, piece: bytes) -> None:
        """Look at the next piece; raises Unreadable for a line without an end."""
        if not self.waiting and piece.endswith(b"\n"):
            self._note(piece)
            return
        # SECURITY: a line in many pieces is not copied for each of them (test_a_long_line_in_small_pieces_is_cheap).
        self.waiting += piece
        if b"\n" in piece:
            whole, _, self.waiting = self.waiting.rpartition(b"\n")
            self._note(whole)
        if len(self.waiting) > LINE:
            raise Unreadable

    def documents(self, *, is_whole: bool) -> Iterable[object]:  # noqa: ARG002  each line is whole or not by itself
        """Return what those two lines say, once the stream is over."""
        if self.waiting:
            self._note(self.waiting)
        for line in (self._first, self._last):
            if line is not None:
                yield from _event(line)

    def _note(self, lines: bytes | bytearray) -> None:
        # Of the events of a stream one or two speak of it, so that to look for it is all there is to do for the others.
        at, end = lines.find(_MAY_SAY_IT), 0
        if at < 0:
            return
        for found in _SAYS_IT.finditer(lines, at):
            if found.start() < end or b"\n" in found[0]:  # of a line that is noted, or of none
                continue
            begin, end = lines.rfind(b"\n", 0, found.start()) + 1, lines.find(b"\n", found.end())
            end = len(lines) if end < 0 else end
            if not lines.startswith(b"data:", begin):
                continue
            if self._first is None:
                self._first = bytes(lines[begin:end])
            else:
                self._last = bytes(lines[begin:end])


class Document:
    """A JSON document, or a list of them: its beginning and, of a long one, its end. tail: that, and what was before it."""

    __slots__ = ("_head", "tail")

    def __init__(self) -> None:
        self._head, self.tail = bytearray(), bytearray()

    def feed(self, piece: bytes) -> None:
        """Look at the next piece."""
        room = WHOLE - len(self._head)
        if room:
            self._head += piece[:room]
            piece = piece[room:]
        if piece:
            self.tail += piece
            # SECURITY: once for so many bytes, and not with each piece (test_a_long_document_in_small_pieces_is_cheap).
            if len(self.tail) > 2 * WHOLE:
                del self.tail[:-WHOLE]

    def ends(self) -> tuple[bytes, bytes]:
        """Return its beginning, which is all of it unless there is more, and its end."""
        return bytes(self._head), bytes(self.tail[-WHOLE:])

    def documents(self, *, is_whole: bool) -> Iterable[object]:
        """Return what it says, once it is over. is_whole: whether it came to its end."""
        head, tail = self.ends()
        said = _said(head) if is_whole and not tail else ()
        return said or parsed(head, tail, is_whole=is_whole)


def says_it(part: bytes) -> bool:
    """Whether a part of a document speaks of usage."""
    return _SAYS_IT.search(part) is not None


def parsed(head: bytes, tail: bytes = b"", *, depth: int = 1, is_whole: bool = True) -> Iterator[object]:
    """Return what JSON says, or a list of JSON, as far as it matters.

    tail: the end of one that is longer than its head. depth: how deep in it usage is. is_whole: whether it came to its end.
    """
    if head.lstrip()[:1] == b"[":
        depth += 1
    part = tail or head
    found = _before_end(part, depth) if is_whole else None
    if found is None and (tail or not is_whole):
        part, found = head, _behind_beginning(head, depth)
    if found is not None:
        # Only what is wanted is read: all of an answer would take several times as long.
        if model := _NAMES_MODEL.search(head):
            yield {model[1].decode(): model[2].decode("utf-8", "replace")}
        yield _member(part, found)
    elif not tail and is_whole:
        whole = json.loads(head.decode())
        yield from whole if isinstance(whole, list) else [whole]


# SECURITY: an answer repeats parts of its call, such as the form of a tool, in which its caller may have a member `usage`;
# only where the provider has its own it counts (test_what_a_caller_put_in_is_no_usage). Within a string each quote has a
# backslash before it, so that no text can pass for a member.


def _behind_beginning(part: bytes, depth: int) -> re.Match[bytes] | None:
    """Return the last member that speaks of usage and is so deep in a document that begins so; None if there is none."""
    at, above, chosen = 0, 0, None
    for found in _members(part):
        above += _opened(part[at : found.start()])
        at = found.start()
        chosen = found if above == depth else chosen
    return chosen


def _before_end(part: bytes, depth: int) -> re.Match[bytes] | None:
    """Return the same of a document that ends so."""
    end, above = len(part), 0
    for found in reversed(_members(part)):
        above -= _opened(part[found.start() : end])
        end = found.start()
        if above == depth:
            return found
    return None


def _members(part: bytes) -> list[re.Match[bytes]]:
    found = list(itertools.islice(_SAYS_IT.finditer(part), MEMBERS + 1))
    if len(found) > MEMBERS:
        raise Unreadable
    return found


def _opened(part: bytes) -> int:
    """Return how many objects and lists a part opens beyond those that it closes; it begins and ends outside of strings."""
    plain = _STRING.sub(b"", part)
    return plain.count(b"{") + plain.count(b"[") - plain.count(b"}") - plain.count(b"]")


def _member(part: bytes, found: re.Match[bytes]) -> dict[str, object]:
    name = found[0].split(b'"')[1].decode()
    value, _ = _DECODER.raw_decode(part[found.end() :].decode("utf-8", "replace"))
    return {name: value}


def _event(line: bytes) -> Sequence[object]:
    """Return what a line of a stream says; nothing if it broke off."""
    document = line.partition(b":")[2]
    if said := _said(document):
        return said
    try:
        return (json.loads(document),)
    except ValueError:
        return ()


class _Said(msgspec.Struct):
    """The members of an answer that are of use; whatever else there is, msgspec skips, in C."""

    model: object = None
    usage: object = None
    usageMetadata: object = None  # noqa: N815  the member's name


_SAID: Final = msgspec.json.Decoder(_Said)


def _said(document: bytes) -> Sequence[object]:
    """Return what a whole document says in members of its own, as `parsed`; nothing if it says it elsewhere, or is none."""
    try:
        said = _SAID.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    if type(said.model) is not str:
        return ()
    if type(said.usage) is dict:
        return ({"model": said.model, "usage": said.usage},)
    if type(said.usageMetadata) is dict:
        return ({"model": said.model, "usageMetadata": said.usageMetadata},)
    return ()


class _Reader(Protocol):
    def feed(self, piece: bytes) -> None: ...
    def documents(self, *, is_whole: bool) -> Iterable[object]: ...


@functools.lru_cache(maxsize=64)
def _kind(content_type: str) -> type[Lines | Document] | None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return Lines
    return Document if media_type.endswith("json") else None


class AnswerReader:
    """One answer, as it passes. Nothing that an answer holds makes a method raise."""

    def __init__(self, content_type: str, content_encoding: str) -> None:
        self._type, self._encoding = content_type, content_encoding
        self._reader: _Reader | None = None  # made with the first look, which is off the way of the call
        self._decode: Callable[[bytes], bytes] | None = None
        self._is_given_up = False
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Look at the next piece, with those that follow: a stream has many, and one look at each costs more than they do."""
        if self._is_given_up:
            return
        pieces = self._pieces
        pieces.append(piece)
        size = self._size = self._size + len(piece)
        if size > WHOLE or len(pieces) > PIECES:
            self._look()

    def _is_plain_document(self) -> bool:
        return not self._is_given_up and self._encoding == "" and _kind(self._type) is Document

    def _look(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        # SECURITY: an answer that cannot be read goes on all the same (test_nothing_in_an_answer_fails_the_call).
        try:
            reader = self._reader or self._begin()
            joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            reader.feed(self._decode(joined) if self._decode else joined)
        except Exception:  # noqa: BLE001  whatever it is: its usage is unknown, and that is counted
            self._give_up()

    def _begin(self) -> _Reader:
        kind, encoding = _kind(self._type), self._encoding.strip().lower()
        if kind is None:
            raise Unreadable
        if encoding not in ("", "identity"):
            self._decode = decoder(encoding)
        self._reader = kind()
        return self._reader

    def documents(self, *, is_whole: bool = True) -> list[object]:
        """Return what of the answer speaks of its usage, as JSON; nothing if it cannot be read.

        is_whole: whether it came to its end.
        """
        if self._reader is None and is_whole and self._is_plain_document() and (said := _said(b"".join(self._pieces))):
            return list(said)  # nearly every answer, which nothing has to be kept of
        if self._pieces:
            self._look()
        if self._reader is None:  # there was nothing, or it was given up
            return []
        try:
            return list(self._reader.documents(is_whole=is_whole))
        except Exception:  # noqa: BLE001  as in `feed`
            self._give_up()
            return []

    def _give_up(self) -> None:
        self._reader, self._decode, self._is_given_up = None, None, True
