"""Reads on the side what an answer says of its usage, while its bytes go on as they are: never all of it, and never for long."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from chalicelib.providers import answer_usage
from chalicelib.providers.answer_usage import TokenUse
from local.simulator import usual_answers
from local.simulator.answer_decoders import Unreadable, decoder
from local.simulator.answer_document import SAYS_IT, WHOLE, Document
from local.simulator.usual_answers import DATA, MAY_SAY_IT

PIECES: Final = 64
"""Pieces of an answer that are looked at together, and WHOLE bytes of them."""
LINE: Final = 1024**2
"""Bytes of one line of a stream."""


class Lines:
    """The first and the last line of a stream of events that speak of usage. waiting: what has no end of its line yet."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.is_begun = False
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

    def use(self, provider: str, *, is_whole: bool) -> TokenUse | None:  # noqa: ARG002  each line is whole or not by itself
        """See `AnswerReader.use`."""
        if self.waiting:
            self._note(self.waiting)
        lines = (line for line in (self._first, self._last) if line is not None)
        events = [one for line in lines for one in _event(line)]
        self.is_begun = len(events) == 1 and _is_a_beginning(events[0])
        return answer_usage.read(provider, events)

    def _note(self, lines: bytes | bytearray) -> None:
        # Of the events of a stream one or two speak of it, so that to look for it is all there is to do for the others.
        at, end = lines.find(MAY_SAY_IT), 0
        if at < 0:
            return
        for found in SAYS_IT.finditer(lines, at):
            if found.start() < end or b"\n" in found[0]:  # of a line that is noted, or of none
                continue
            begin, end = lines.rfind(b"\n", 0, found.start()) + 1, lines.find(b"\n", found.end())
            end = len(lines) if end < 0 else end
            if not lines.startswith(DATA, begin):
                continue
            if self._first is None:
                self._first = bytes(lines[begin:end])
            else:
                self._last = bytes(lines[begin:end])


def _event(line: bytes) -> Sequence[object]:
    """Return what a line of a stream says; nothing if it broke off."""
    try:
        return (json.loads(line.partition(b":")[2]),)
    except ValueError:
        return ()


def _is_a_beginning(event: object) -> bool:
    """Whether an event says what was taken up to then: Anthropic's first one."""
    return isinstance(event, dict) and isinstance(event.get("message"), dict) and "usage" not in event


class _Reader(Protocol):
    @property
    def is_begun(self) -> bool: ...
    def feed(self, piece: bytes) -> None: ...
    def use(self, provider: str, *, is_whole: bool) -> TokenUse | None: ...


class _Decoded:
    """An answer that is compressed."""

    def __init__(self, reader: _Reader, decode: Callable[[bytes], bytes]) -> None:
        self._reader, self._decode = reader, decode

    @property
    def is_begun(self) -> bool:
        return self._reader.is_begun

    def feed(self, piece: bytes) -> None:
        self._reader.feed(self._decode(piece))

    def use(self, provider: str, *, is_whole: bool) -> TokenUse | None:
        return self._reader.use(provider, is_whole=is_whole)


class _GivenUp:
    """An answer that cannot be read."""

    is_begun = False

    def feed(self, piece: bytes) -> None:
        pass

    def use(self, provider: str, *, is_whole: bool) -> TokenUse | None:  # noqa: ARG002  as those that can
        return None


class AnswerReader:
    """One answer, as it passes. Nothing that an answer holds makes a method raise."""

    __slots__ = ("_encoding", "_pieces", "_reader", "_size", "_type")

    def __init__(self, content_type: str, content_encoding: str) -> None:
        self._type, self._encoding = content_type, content_encoding
        self._reader: _Reader | None = None  # made with the first look, which nearly all answers do without
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events that is not compressed."""
        return usual_answers.reader(self._type) is usual_answers.read_stream and _is_plain(self._encoding)

    @property
    def is_begun(self) -> bool:
        """Whether what it says is of its beginning alone, after `use`."""
        return self._reader is not None and self._reader.is_begun

    def feed(self, piece: bytes) -> None:
        """Look at the next piece, with those that follow: a stream has many, and one look at each costs more than they do."""
        pieces = self._pieces
        pieces.append(piece)
        size = self._size = self._size + len(piece)
        if size > WHOLE or len(pieces) > PIECES:
            self._look(self._waiting())

    def _waiting(self) -> bytes:
        """Return what was not looked at, joined."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _look(self, piece: bytes) -> None:
        # SECURITY: an answer that cannot be read goes on all the same (test_nothing_in_an_answer_fails_the_call).
        try:
            if self._reader is None:
                self._reader = _begun(self._type, self._encoding)
            self._reader.feed(piece)
        except Exception:  # noqa: BLE001  whatever it is: its usage is unknown, and that is counted
            self._reader = _GivenUp()

    def use(self, provider: str, *, is_whole: bool = True) -> TokenUse | None:
        """Return what the answer says that it took; None if it does not say it, or cannot be read.

        is_whole: whether it came to its end.
        """
        waiting = self._waiting()
        if self._reader is None and is_whole and not self._encoding:
            read = usual_answers.reader(self._type)
            if read is not None and (found := read(provider, waiting)) is not None:
                return found
        if waiting:
            self._look(waiting)
        if self._reader is None:  # there was nothing
            return None
        try:
            return self._reader.use(provider, is_whole=is_whole)
        except Exception:  # noqa: BLE001  as in `_look`
            return None


def _begun(content_type: str, content_encoding: str) -> _Reader:
    """Return what reads an answer; raises as `decoder`."""
    read = usual_answers.reader(content_type)
    if read is None:
        raise Unreadable
    reader = Lines() if read is usual_answers.read_stream else Document()
    return reader if _is_plain(content_encoding) else _Decoded(reader, decoder(content_encoding.strip().lower()))


def _is_plain(content_encoding: str) -> bool:
    return content_encoding.strip().lower() in ("", "identity")
