"""What an answer was compressed with, undone on a copy, piece by piece, and only as far as it was worth its bytes."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

EXPANDED: Final = 100
"""Times its size, and GROWN bytes, that a compressed answer may become, and each piece of it; streams of deltas reach 76."""
GROWN: Final = 256 * 1024
"""More than a block of zstd, which comes out at once."""
_WINDOW: Final = 23
"""Of zstd, a power of two: what RFC 9659 allows in answers. A frame may ask for 2 GiB."""
EITHER: Final = 47
"""For zlib: gzip's header, or its own."""


class Unreadable(Exception):  # noqa: N818  what an answer is, no error of ours
    """The answer, or what is left of it, cannot be read."""


class _Allowance:
    """What compressed pieces may become: each by itself, and all of them together."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = GROWN

    def of(self, piece: bytes) -> int:
        """Return how many bytes the next piece may become."""
        # SECURITY: what is read on the event loop grows with what was sent, also where that comes byte by byte
        # (test_many_lines_in_little_are_cheap, test_little_by_little_is_no_way_around).
        worth = EXPANDED * len(piece)
        self._left += worth
        return max(1, min(self._left, GROWN + worth))

    def took(self, found: bytes) -> bytes:
        """Return what the piece became; raises Unreadable if that is more than all of them may."""
        self._left -= len(found)
        if self._left < 0:
            raise Unreadable
        return found


class Inflater:
    """gzip and deflate."""

    def __init__(self, form: int = EITHER) -> None:
        """form: zlib's `wbits`."""
        self._form, self._allowance = form, _Allowance()
        self.forget()

    def forget(self) -> None:
        """Begin anew, with what is left of the allowance."""
        self._inflate = zlib.decompressobj(self._form)

    def __call__(self, piece: bytes) -> bytes:
        """Return what the next piece becomes; raises Unreadable or zlib.error."""
        found = self._inflate.decompress(piece, self._allowance.of(piece))
        # SECURITY: zlib keeps for good all that follows the end (test_what_follows_the_end_is_not_kept).
        if self._inflate.unconsumed_tail or self._inflate.unused_data:
            raise Unreadable
        return self._allowance.took(found)


class _Zstandard:
    """zstd, in one frame."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415  few answers are compressed with it
        else:
            from backports import zstd  # noqa: PLC0415  as above
        self._expand: Any = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW})
        self._allowance = _Allowance()

    def __call__(self, piece: bytes) -> bytes:
        found: bytes = self._expand.decompress(piece, self._allowance.of(piece))
        if self._expand.unused_data or not (self._expand.needs_input or self._expand.eof):
            raise Unreadable
        return self._allowance.took(found)


class _Brotli:
    """br. Its limit is one of blocks, of which the last may go beyond it."""

    def __init__(self) -> None:
        import brotli  # noqa: PLC0415  few answers are compressed with it

        self._expand: Any = brotli.Decompressor()
        self._allowance = _Allowance()

    def __call__(self, piece: bytes) -> bytes:
        found: bytes = self._expand.process(piece, output_buffer_limit=self._allowance.of(piece))
        if not (self._expand.can_accept_more_data() or self._expand.is_finished()):
            raise Unreadable
        return self._allowance.took(found)


_DECODERS: Final[dict[str, Callable[[], Callable[[bytes], bytes]]]] = {
    "gzip": Inflater,
    "x-gzip": Inflater,
    "deflate": Inflater,
    "br": _Brotli,
    "zstd": _Zstandard,
}


def decoder(encoding: str) -> Callable[[bytes], bytes]:
    """Return what decodes one piece after another.

    Raises Unreadable for an encoding that is not known, ImportError for one whose package is not installed.

    What it returns raises something for a piece that cannot be decoded; it is then of no more use.
    """
    if encoding not in _DECODERS:
        raise Unreadable
    return _DECODERS[encoding]()
