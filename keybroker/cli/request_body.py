"""The body of a forwarded request: kept if it is small, so that it can be sent twice; otherwise streamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from io import BufferedIOBase

KEPT = 1024 * 1024
"""Bytes of a body that is kept, at most."""
_CHUNK = 64 * 1024
_LINE = 8 * 1024


class MalformedBodyError(Exception):
    """The end of the body cannot be determined, or the body ended early."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body. length: bytes, None if it is chunked, -1 if there is none. parts: can be read once, unless `repeats`."""

    length: int | None
    parts: Iterator[bytes] | tuple[bytes, ...]

    @property
    def repeats(self) -> bool:
        """Whether it can be sent again."""
        return isinstance(self.parts, tuple)


def read(headers: Message, source: BufferedIOBase) -> Body:
    """Return a request's body; raises MalformedBodyError, at once or when the parts are read."""
    lengths, encodings = headers.get_all("content-length", []), headers.get_all("transfer-encoding", [])
    if encodings:
        # SECURITY: with two lengths, this proxy and the next server may each use another one (RFC 9112 section 6.3).
        if lengths or [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
            raise MalformedBodyError(
                "malformed request: both content-length and transfer-encoding, or an encoding other than chunked"
            )
        return Body(None, _chunks(source))
    if not lengths:
        return Body(-1, ())
    if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()) or len(lengths[0]) > 15:
        raise MalformedBodyError("malformed content-length: repeated, or not a number")
    length = int(lengths[0])
    parts = _bytes(source, length)
    return Body(length, tuple(parts) if length <= KEPT else parts)


def _bytes(source: BufferedIOBase, left: int) -> Iterator[bytes]:
    while left:
        chunk = source.read1(min(left, _CHUNK))
        if not chunk:
            raise MalformedBodyError("malformed body: it ended early")
        left -= len(chunk)
        yield chunk


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    while size := _size(source.readline(_LINE)):
        yield from _bytes(source, size)
        if source.readline(_LINE).strip():
            raise MalformedBodyError("malformed chunk: longer than its size")
    while source.readline(_LINE).strip():  # trailers, which are dropped
        pass


def _size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not text or len(text) > 8 or set(text) - set(b"0123456789abcdefABCDEF"):
        raise MalformedBodyError("malformed chunk: no valid size")
    return int(text, 16)
