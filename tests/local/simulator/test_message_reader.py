"""A server's messages are read frame by frame, in any pieces, and never so that the connection could fail."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulator.answer_decoders import GROWN
from local.simulator.answer_document import WHOLE
from local.simulator.message_reader import MessageReader

TEXT, BINARY, PING = 1, 2, 9
DEFLATE = "permessage-deflate"
LONG = bytes(range(32, 127)) * 3_000


def frame(payload: bytes, opcode: int = TEXT, *, last: bool = True, reserved: int = 0) -> bytes:
    """A server's frame."""
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2) if size < 65_536 else b""
    return bytes([128 * last | reserved | opcode]) + (length or bytes([127]) + size.to_bytes(8)) + payload


class Deflater:
    """A server's side of permessage-deflate."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(wbits=-15)

    def __call__(self, payload: bytes) -> bytes:
        return (self._compress.compress(payload) + self._compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def heard(sent: bytes, extensions: str = "", size: int = 65_536) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The messages that are told of what a server sent, and whether all of it could be read."""
    told: list[tuple[bytes, bytes]] = []
    reader = MessageReader(extensions, lambda *one: told.append(one))
    for first in range(0, len(sent), size):
        reader.feed(sent[first : first + size])
    return told, reader.is_readable


@pytest.mark.parametrize("size", [1, 3, 1_000, 65_536, 1_000_000])
def test_messages_in_any_pieces(size: int) -> None:
    """Messages of every length are told whole, or by their ends, in fragments or not, with a ping between them."""
    sent = (
        frame(b"one")
        + frame(b"", last=False)
        + frame(b"tw", 0, last=False)
        + frame(b"?", PING)
        + frame(b"o", 0)
        + frame(b"sound" * 100, BINARY)
        + frame(b"")
        + frame(b"k" * 200)
        + frame(LONG)
    )
    ends = [(b"one", b""), (b"two", b""), (b"", b""), (b"k" * 200, b""), (LONG[:WHOLE], LONG[-WHOLE:])]
    assert heard(sent, size=size) == (ends, True)


@pytest.mark.parametrize("size", [1, 7, 65_536])
@pytest.mark.parametrize(
    "extensions",
    [
        DEFLATE,
        "permessage-deflate; server_max_window_bits=15",
        "Permessage-Deflate;client_no_context_takeover; client_max_window_bits=10",
    ],
)
def test_compressed_messages(extensions: str, size: int) -> None:
    """A message may be compressed with what came before it, sound among that, and the next one not at all."""
    deflate = Deflater()
    first, sound, second = deflate(b"hello " * 50), deflate(b"\x00\x01" * 500), deflate(b"hello " * 50)
    sent = (
        frame(first, reserved=64)
        + frame(sound, BINARY, reserved=64)
        + frame(b"plain")
        + frame(second[:3], last=False, reserved=64)
        + frame(b"", PING)
        + frame(second[3:], 0)
    )
    assert heard(sent, extensions, size) == ([(b"hello " * 50, b""), (b"plain", b""), (b"hello " * 50, b"")], True)


def test_messages_that_are_compressed_each_by_itself() -> None:
    """Without a context each message is decompressed alone."""
    sent = b"".join(frame(Deflater()(b"hello " * 50), reserved=64) for _ in range(3))
    assert heard(sent, "permessage-deflate; server_no_context_takeover") == ([(b"hello " * 50, b"")] * 3, True)


@pytest.mark.parametrize(
    ("sent", "extensions"),
    [
        (b"", "x-own-extension"),
        (b"", "permessage-deflate, x-own-extension"),
        (frame(b"k", reserved=64), ""),
        (frame(b"k", reserved=32), DEFLATE),
        (frame(b"not deflate", reserved=64), DEFLATE),
        (b"\x81\x81\x00\x00\x00\x00k", ""),
        (frame(b"k", 3), ""),
        (frame(b"k", 0), ""),
        (frame(b"k", last=False) + frame(b"k"), ""),
        (frame(b"k", last=False, reserved=64) + frame(b"k", 0, reserved=64), DEFLATE),
        (frame(b"k", PING, last=False), ""),
        (frame(b"k" * 126, PING), ""),
        (frame(b"HTTP")[:1] + b"\x7f" + b"\xff" * 8 + frame(b"k", 3), ""),
    ],
    ids=[
        *("unknown-extension", "two-extensions", "not-agreed", "another-bit", "not-deflate", "masked"),
        *(
            "unknown-opcode",
            "no-beginning",
            "two-beginnings",
            "bit-in-fragment",
            "ping-in-parts",
            "long-ping",
            "length",
        ),
    ],
)
def test_what_is_not_understood_is_given_up(sent: bytes, extensions: str) -> None:
    """From the first frame that is not understood, nothing is told any more."""
    assert heard(sent + frame(b"next"), extensions) == ([], False)


def test_a_bomb_is_given_up() -> None:
    """Messages that become too large are given up: one, or many of which each begins anew."""
    bomb = frame(Deflater()(bytes(20 * GROWN)), reserved=64)
    assert heard(bomb, DEFLATE) == ([], False)
    small = frame(Deflater()(bytes(20_000)), reserved=64)
    told, is_readable = heard(small * 1_000, "permessage-deflate; server_no_context_takeover")
    assert (len(told) < 100, is_readable) == (True, False)


def test_many_small_frames_are_given_up() -> None:
    """A piece with more frames than anybody sends is not read: each would take as long as a hundred bytes."""
    told, is_readable = heard(frame(b"") * 30_000)
    assert (len(told) < 5_000, is_readable) == (True, False)


def test_an_endless_message_holds_its_ends() -> None:
    """A message that never ends is held by its beginning and its end."""
    reader = MessageReader("", lambda *_ends: None)
    for _ in range(100):
        reader.feed(frame(LONG, last=False, opcode=0 if _ else TEXT))
    assert reader.is_readable
    assert sum(map(len, reader.document.ends())) == 2 * WHOLE


def test_who_is_told_may_fail() -> None:
    """If what is told makes its hearer fail, the connection goes on, and nothing more is told."""
    told: list[bytes] = []

    def hear(head: bytes, _tail: bytes) -> None:
        told.append(head)
        raise RecursionError

    reader = MessageReader("", hear)
    reader.feed(frame(b"one") + frame(b"two"))
    reader.feed(frame(b"three"))
    assert (told, reader.is_readable) == ([b"one"], False)


_FRAMES: Any = st.builds(
    frame,
    st.binary(max_size=200) | st.just(b"k" * 70_000),
    st.integers(0, 15),
    last=st.booleans(),
    reserved=st.sampled_from([0, 16, 64]),
)


@given(
    parts=st.lists(_FRAMES | st.binary(max_size=20), max_size=8),
    extensions=st.sampled_from(["", DEFLATE, "permessage-deflate; server_no_context_takeover", ";", ","]),
    size=st.integers(min_value=1, max_value=500),
)
def test_no_bytes_raise(parts: Sequence[bytes], extensions: str, size: int) -> None:
    """Whatever a server sends, and says that it is, nothing is raised."""
    heard(b"".join(parts)[:5_000], extensions, size)
