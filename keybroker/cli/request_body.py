"""The body of a request that is passed on: kept if it is small, so that it can be sent twice; else passed as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from io import BufferedIOBase

KEPT = 1024 * 1024
"""Bytes of a body that is kept, at most."""
_CHUNK = 64 * 1024
_LINE = 8 * 1024


class BodyMalformed(Exception):  # noqa: N818  what it is
    """Where the body ends cannot be told, or it ended before."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body. length: bytes, None if it comes in chunks, -1 if there is none. parts: of use once, unless `repeats`."""

    length: int | None
    parts: Iterator[bytes] | tuple[bytes, ...]

    @property
    def repeats(self) -> bool:
        """Whether it can be sent again."""
        return isinstance(self.parts, tuple)


def read(headers: Message, source: BufferedIOBase) -> Body:
    """Return a request's body; raises BodyMalformed, at once or when the parts are read."""
    lengths, encodings = headers.get_all("content-length", []), headers.get_all("transfer-encoding", [])
    if encodings:
        # SECURITY: with two ends, this proxy and the next server may each find another one (RFC 9112 section 6.3).
        if lengths or [one.strip().lower() for one in encodings] != ["chunked"]:
            raise BodyMalformed("content-length and transfer-encoding, or one that is not chunked")
        return Body(None, _chunks(source))
    if not lengths:
        return Body(-1, ())
    if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()) or len(lengths[0]) > 15:
        raise BodyMalformed("content-length is no number, or there are two")
    length = int(lengths[0])
    parts = _bytes(source, length)
    return Body(length, tuple(parts) if length <= KEPT else parts)


def _bytes(source: BufferedIOBase, left: int) -> Iterator[bytes]:
    while left:
        chunk = source.read1(min(left, _CHUNK))
        if not chunk:
            raise BodyMalformed("the body ended too early")
        left -= len(chunk)
        yield chunk


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    while size := _size(source.readline(_LINE)):
        yield from _bytes(source, size)
        if source.readline(_LINE).strip():
            raise BodyMalformed("a chunk is longer than it says")
    while source.readline(_LINE).strip():  # trailers, which nobody reads
        pass


def _size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not text or len(text) > 8 or set(text) - set(b"0123456789abcdefABCDEF"):
        raise BodyMalformed("a chunk without its size")
    return int(text, 16)
