from __future__ import annotations

import io
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker.cli.request_body import KEPT, Body, MalformedBodyError, read


def body(content: bytes, *headers: tuple[str, str]) -> Body:
    message = Message()
    for name, value in headers:
        message[name] = value
    return read(message, io.BufferedReader(io.BytesIO(content)))


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_chunks_are_read_to_the_last_one(chunks: list[bytes]) -> None:
    """A chunked body is read up to its last chunk."""
    sent = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\nTrailer: x\r\n\r\nGET / HTTP"
    found = body(sent, ("Transfer-Encoding", "Chunked"))
    assert (found.length, found.repeats) == (None, False)
    assert b"".join(found.parts) == b"".join(chunks)


def test_only_a_small_body_is_kept() -> None:
    """A small body is kept for a repetition, a large one is streamed."""
    small, large = body(b"abcdef", ("content-length", "4")), body(b"a" * (KEPT + 1), ("content-length", str(KEPT + 1)))
    assert (small.length, b"".join(small.parts), small.repeats) == (4, b"abcd", True)
    assert (large.length, large.repeats, len(b"".join(large.parts))) == (KEPT + 1, False, KEPT + 1)


def test_no_length_means_no_body() -> None:
    """A request without length and encoding has no body."""
    assert body(b"abc") == Body(-1, ())


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "3"), ("transfer-encoding", "chunked")],
        [("content-length", "3"), ("content-length", "3")],
        [("content-length", "-1")],
        [("content-length", "+3")],
        [("content-length", "0x3")],
        [("content-length", "3, 3")],
        [("content-length", "9" * 20)],
        [("transfer-encoding", "gzip, chunked")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    ],
)
def test_an_ambiguous_length_is_refused(headers: list[tuple[str, str]]) -> None:
    """A body with two lengths or an invalid one is refused."""
    with pytest.raises(MalformedBodyError):
        body(b"abc", *headers)


@pytest.mark.parametrize("content", [b"", b"x\r\nabc\r\n", b"-3\r\nabc\r\n", b"4\r\nabc", b"3\r\nabcd\r\n0\r\n\r\n"])
def test_malformed_chunks_are_refused(content: bytes) -> None:
    """Malformed chunks are refused when they are read."""
    found = body(content, ("transfer-encoding", "chunked"))
    with pytest.raises(MalformedBodyError):
        list(found.parts)


def test_a_truncated_body_is_refused() -> None:
    """A body that ends early is refused."""
    with pytest.raises(MalformedBodyError, match="ended early"):
        body(b"abc", ("content-length", "4"))
