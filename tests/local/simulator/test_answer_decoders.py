"""Answers are decoded on a copy, in any pieces, and never to more than was worth their bytes."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulator.answer_decoders import EXPANDED, GROWN, Inflater, Unreadable, decoder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda content: brotli.compress(content, quality=5),
    "zstd": zstd.compress,
}
TEXT = b"".join(b"data: %d\n\n" % number for number in range(5_000))


def decoded(encoding: str, content: bytes, size: int = 65_536) -> bytes:
    decode = decoder(encoding)
    return b"".join(decode(content[first : first + size]) for first in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, 100, 65_536])
@pytest.mark.parametrize("encoding", ENCODE)
def test_in_any_pieces(encoding: str, size: int) -> None:
    """What was encoded comes out as it was, wherever it is cut."""
    assert decoded(encoding, ENCODE[encoding](TEXT), size) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity", "gzip, gzip", "nothing-known", "BR"])
def test_an_unknown_encoding(encoding: str) -> None:
    """What has no decoder is said to be unreadable."""
    with pytest.raises(Unreadable):
        decoder(encoding)


@pytest.mark.parametrize("size", [1, 10, 65_536])
@pytest.mark.parametrize("encoding", ENCODE)
def test_a_bomb_is_given_up(encoding: str, size: int) -> None:
    """However a bomb comes, no more of it is made than its bytes were worth."""
    bomb, decode, made = ENCODE[encoding](bytes(4_000_000)), decoder(encoding), 0
    with pytest.raises(Unreadable):  # noqa: PT012  which of the pieces is too much is not said
        for first in range(0, len(bomb), size):
            made += len(decode(bomb[first : first + size]))
    assert made <= GROWN + EXPANDED * len(bomb)


def test_little_by_little_is_no_way_around() -> None:
    """What each piece may become besides is for all of them once, also where each message begins anew."""
    message = _raw(bytes(20_000))
    inflate = Inflater(-15)
    with pytest.raises(Unreadable):  # noqa: PT012  as above
        for _ in range(100):
            inflate(message)
            inflate.forget()


@pytest.mark.parametrize("encoding", ENCODE)
def test_what_follows_the_end_is_not_kept(encoding: str) -> None:
    """Bytes behind the end of what was encoded are not collected: the answer is given up."""
    decode: Any = decoder(encoding)
    decode(ENCODE[encoding](b"k"))
    with pytest.raises((Unreadable, EOFError, brotli.error)):
        decode(b"more")


def test_a_window_that_is_too_large() -> None:
    """A frame that asks for more memory than the standard allows is not decoded."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    frame = compressor.compress(TEXT) + compressor.flush(zstd.ZstdCompressor.FLUSH_BLOCK)
    with pytest.raises(zstd.ZstdError, match="too much memory"):
        decoded("zstd", frame)


@given(content=st.binary(max_size=100), encoding=st.sampled_from(sorted(ENCODE)))
def test_an_encoding_that_lies(content: bytes, encoding: str) -> None:
    """What is not what it is said to be makes little or nothing."""
    with contextlib.suppress(Unreadable, EOFError, zlib.error, zstd.ZstdError, brotli.error):
        assert len(decoded(encoding, content)) <= GROWN + EXPANDED * len(content)


def _raw(content: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(content) + compress.flush(zlib.Z_SYNC_FLUSH)
