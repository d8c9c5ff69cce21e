"""Reads on the side what one side says on a WebSocket (RFC 6455, section 5), while its bytes go on as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from local.simulator.answer_decoders import Inflater, Unreadable
from local.simulator.answer_document import Document

Told = Callable[[bytes, bytes], None]
"""Is told a message: its beginning, which is all of it unless there is more, and its end."""

_RAW: Final = -15
"""For zlib: no header, and the largest window, which smaller ones fit into."""
_TEXT, _BINARY = 1, 2
_WHOLE: Final = 128 | _TEXT
"""The first byte of a message of text in one frame that is not compressed."""
_LENGTHS: Final = {126: 2, 127: 8}
"""By what a frame's second byte says, how many bytes more its length has."""
_FRAMES: Final = 64
"""Frames in a piece, and one more for each 16 bytes of it."""


class MessageReader:
    """The messages of text of a server. Nothing that it sends makes a method raise. document: the one that comes now."""

    def __init__(self, extensions: str, told: Told) -> None:
        """extensions: what the server's answer says in Sec-WebSocket-Extensions. told: may raise; it is told no more then."""
        self.is_readable = True
        self._told = told
        self.document = Document()
        self._inflate: Inflater | None = None
        self._forgets = False
        self._head, self._in_frame, self._left = bytearray(), False, 0
        self._opcode = self._message = 0
        self._is_last = self._is_deflated = False
        self._trying(lambda: self._agree(extensions))

    def feed(self, piece: bytes) -> None:
        """Look at the next bytes that the server sent."""
        if self.is_readable:
            self._trying(lambda: self._take(piece))

    def _trying(self, step: Callable[[], None]) -> None:
        # SECURITY: a message that cannot be read goes on all the same (test_no_bytes_raise).
        try:
            step()
        except Exception:  # noqa: BLE001  whatever it is: what was said from here on is unknown, and that is counted
            self.is_readable, self._inflate, self.document = False, None, Document()

    def _agree(self, extensions: str) -> None:
        """Note which extension is spoken (RFC 7692); raises Unreadable for one that is not known."""
        name, *parameters = [one.strip().lower() for one in extensions.split(";")]
        if not name and not parameters:
            return
        if name != "permessage-deflate" or any("," in one for one in parameters):
            raise Unreadable
        self._inflate, self._forgets = Inflater(_RAW), "server_no_context_takeover" in parameters

    def _take(self, piece: bytes) -> None:
        at, frames = 0, _FRAMES + len(piece) // 16
        while at < len(piece):
            if not self._in_frame:
                # SECURITY: what a byte may take on the event loop is bounded (test_many_small_frames_are_given_up).
                frames -= 1
                if frames < 0:
                    raise Unreadable
                begun, at = at, self._tell_whole(piece, at)
                if at > begun:
                    continue
                at = self._begin(piece, at)
            if self._in_frame:
                part = piece[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                self._add(part)
                if not self._left:
                    self._in_frame = False
                    self._end()

    def _tell_whole(self, piece: bytes, at: int) -> int:
        """Tell a message that a piece has whole, in one frame and as it is, like most; return where it ends, else `at`."""
        if piece[at] != _WHOLE or self._message or self._head or at + 4 > len(piece):
            return at
        size, start = piece[at + 1], at + 2
        if size == 126:
            size, start = piece[at + 2] << 8 | piece[at + 3], at + 4
        elif size > 126:
            return at
        if start + size > len(piece):
            return at
        self._told(piece[start : start + size], b"")
        return start + size

    def _begin(self, piece: bytes, at: int) -> int:
        """Read on in a frame's head, and return where the piece goes on; begin the frame once all of it is there."""
        head = self._head
        while missing := (2 if len(head) < 2 else 2 + _LENGTHS.get(head[1] & 127, 0)) - len(head):
            more = piece[at : at + missing]
            if not more:
                return at
            head += more
            at += len(more)
        self._open(head)
        head.clear()
        return at

    def _open(self, head: bytearray) -> None:
        """Begin a frame; raises Unreadable where the standard would have the connection end."""
        self._is_last, reserved, self._opcode = bool(head[0] & 128), head[0] & 112, head[0] & 15
        self._left = int.from_bytes(head[2:]) if len(head) > 2 else head[1]
        self._in_frame = True
        if head[1] & 128 or self._left >> 63:
            raise Unreadable  # a server's are not masked
        if self._opcode >= 8:
            if not self._is_last or reserved or self._left > 125:
                raise Unreadable
        elif self._opcode == 0:
            if reserved or not self._message:
                raise Unreadable
        elif self._opcode > _BINARY or self._message or reserved & ~64 or (reserved and self._inflate is None):
            raise Unreadable
        else:
            self._message, self._is_deflated = self._opcode, bool(reserved)

    def _add(self, part: bytes) -> None:
        if self._opcode >= 8:
            return  # between the frames of a message there may be a ping
        if self._is_deflated and self._inflate is not None:
            part = self._inflate(part)
        if self._message == _TEXT:
            self.document.feed(part)

    def _end(self) -> None:
        if self._opcode >= 8 or not self._is_last:
            return
        if self._is_deflated and self._inflate is not None:
            self._add(b"\0\0\xff\xff")
            if self._forgets:
                self._inflate.forget()
        is_text, self._message = self._message == _TEXT, 0
        if is_text:
            document, self.document = self.document, Document()
            self._told(*document.ends())
