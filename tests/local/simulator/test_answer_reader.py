"""Answers are read as they pass: in any pieces, compressed or not, and never so that a call could fail."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.providers.answer_usage import TokenUse
from local.simulator import answer_reader
from local.simulator.answer_decoders import EXPANDED, GROWN
from local.simulator.answer_document import WHOLE, Document
from local.simulator.answer_reader import LINE, AnswerReader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
EXPECTED = TokenUse("gpt-5-mini", 12, 5, 8)
CHUNK = {"model": "gpt-5-mini", "choices": [{"delta": {"content": 'say "usage": {"prompt_tokens": 9}'}}], "usage": None}
LAST = {"model": "gpt-5-mini", "choices": [], "usage": USAGE}
ANSWER = {"model": "gpt-5-mini", "choices": [{"message": {"content": "hello"}}], "usage": USAGE}


def events(*found: object, end: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + end for one in found) + b"data: [DONE]" + end


STREAM = events(CHUNK, CHUNK, LAST)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[first : first + size] for first in range(0, len(content), size))


def read(content: bytes, content_type: str, encoding: str = "", size: int = 65_536) -> TokenUse | None:
    reader = AnswerReader(content_type, encoding)
    for piece in pieces(content, size):
        reader.feed(piece)
    return reader.use("openai")


def _raw(content: bytes) -> bytes:
    return content


@pytest.mark.parametrize("size", [1, 10, 65_536])
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("", _raw),
        ("identity", _raw),
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
    ],
)
def test_answers_in_any_pieces(encoding: str, encode: Callable[[bytes], bytes], size: int) -> None:
    """A document and a stream are read alike, compressed or not, wherever they are cut."""
    whole = json.dumps(ANSWER).encode()
    assert read(encode(whole), "application/json", encoding, size) == EXPECTED
    assert read(encode(STREAM), "text/event-stream; charset=utf-8", encoding, size) == EXPECTED


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_both_ends_of_lines(end: bytes) -> None:
    """Events end with either end of lines, and the last may have none."""
    stream = events(CHUNK, LAST, end=end)
    assert read(stream, "text/event-stream") == EXPECTED
    assert read(b"data: " + json.dumps(LAST).encode(), "text/event-stream") == EXPECTED


@pytest.mark.parametrize("size", [1_000, 65_536])
def test_a_long_document_is_read_at_its_ends(size: int) -> None:
    """Usage is found before or behind megabytes, and a text that speaks of usage is no member."""
    filler = ['"usage": {"prompt_tokens": 1}' + "k" * 60] * (WHOLE // 10)
    behind = {"model": "gpt-5-mini", "data": filler, "usage": USAGE}
    before = {"model": "gpt-5-mini", "usage": USAGE, "data": filler}
    for one in (behind, before):
        assert read(json.dumps(one).encode(), "application/json", size=size) == EXPECTED
    assert read(json.dumps({"model": "m", "data": filler}).encode(), "application/json", size=size) is None


def test_a_list_of_documents() -> None:
    """A stream may be one list of JSON, as Google's is without `alt=sse`."""
    assert read(json.dumps([CHUNK, LAST]).encode(), "application/json") == EXPECTED


def test_a_stream_without_usage_is_unknown() -> None:
    """Nothing is made up for a stream that does not say it."""
    assert read(events(CHUNK, CHUNK), "text/event-stream") is None


@pytest.mark.parametrize("size", [7, 65_536])
@pytest.mark.parametrize("ends", [False, True])
def test_a_beginning_is_not_all(*, ends: bool, size: int) -> None:
    """A stream of Anthropic's that says what was taken when it began, and not when it ended, has not said all of it."""
    begun = {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 9, "output_tokens": 2}}}
    ended = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 70}}
    reader = AnswerReader("text/event-stream", "")
    for piece in pieces(events(begun, {"type": "ping"}, *([ended] if ends else [{"type": "error"}])), size):
        reader.feed(piece)
    assert reader.use("anthropic") == TokenUse("claude", 9, 70 if ends else 2, 0)
    assert reader.is_begun is not ends


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip", "nothing-known"])
def test_an_unknown_encoding_is_unknown(encoding: str) -> None:
    """What cannot be decoded is not read."""
    assert read(STREAM, "text/event-stream", encoding) is None


def test_a_bomb_is_given_up() -> None:
    """A piece that becomes too large is given up, and so is a line that does not end."""
    assert read(gzip.compress(b"k" * 4 * GROWN + STREAM), "text/event-stream", "gzip") is None
    assert read(b"k" * 2 * LINE + b"\n" + STREAM, "text/event-stream") is None
    deep = b'{"usage": ' + b"[" * 50_000
    assert read(deep, "application/json") is None


def test_many_lines_in_little_are_cheap() -> None:
    """A piece is looked at as far as it is long, however much it would become: a kilobyte of it has no megabyte of lines."""
    piece = gzip.compress(b'data: {"usage": {"prompt_tokens": 1}}' + b"\n" * 1_000_000)
    assert len(piece) < 2_000
    assert read(piece, "text/event-stream", "gzip") is None
    fits = GROWN + EXPANDED * 100
    assert read(gzip.compress(STREAM + b"\n" * (fits - len(STREAM) - 5_000)), "text/event-stream", "gzip") == EXPECTED


def test_a_long_line_in_small_pieces_is_cheap() -> None:
    """What waits for the end of its line is held once, and not copied again with each piece."""
    reader = answer_reader.Lines()
    for _ in range(3):
        reader.feed(b"k" * 10)
        held = reader.waiting
    reader.feed(b"k" * 10)
    assert reader.waiting is held
    assert bytes(held) == b"k" * 40


def test_a_long_document_in_small_pieces_is_cheap() -> None:
    """The end of a long answer is not copied again with each piece, and no more than a few ends of it are held."""
    document, held = Document(), set()
    document.feed(b"k" * WHOLE)
    for _ in range(3 * WHOLE // 100):
        document.feed(b"k" * 100)
        held.add(id(document.tail))
        assert len(document.tail) <= 2 * WHOLE + 100
    document.feed(b"end")
    assert len(held) == 1
    head, tail = document.ends()
    assert (len(head), len(tail), tail[-4:]) == (WHOLE, WHOLE, b"kend")


ECHO: dict[str, Any] = {
    "tools": [{"parameters": {"properties": {"usage": {"prompt_tokens": 1, "completion_tokens": 0}}}}]
}
FILLER: dict[str, Any] = {"data": ["k" * 1_000] * (3 * WHOLE // 1_000)}


@pytest.mark.parametrize("filler", [{}, FILLER], ids=["short", "long"])
@pytest.mark.parametrize("echo", [ECHO, {"metadata": ECHO["tools"][0]["parameters"]["properties"]}, {"a": [[ECHO]]}])
def test_what_a_caller_put_in_is_no_usage(echo: dict[str, Any], filler: dict[str, Any]) -> None:
    """What an answer repeats of its call, such as the form of a tool, is not taken for what it took."""
    said: dict[str, Any] = {"usage": USAGE}
    orders = ([said, filler, echo], [echo, filler, said], [said, echo, filler], [filler, said, echo])
    for one in ({"model": "gpt-5-mini", **a, **b, **c} for a, b, c in orders):
        assert read(json.dumps(one).encode(), "application/json", size=1_000) == EXPECTED
    for one in ({"model": "m", **filler, **echo}, {"model": "m", **echo, **filler}):
        assert read(json.dumps(one).encode(), "application/json") is None


@pytest.mark.parametrize("filler", [{}, FILLER], ids=["short", "long"])
def test_what_broke_off_has_no_end(filler: dict[str, Any]) -> None:
    """Of an answer that its caller broke off where it liked, the last bytes say nothing of how deep they are."""
    answer = json.dumps({"model": "m", **filler, **ECHO, "more": "k" * 100, "usage": USAGE}).encode()
    for end in range(answer.index(b'"tools"'), answer.index(b'"more"')):
        reader = AnswerReader("application/json", "")
        reader.feed(answer[:end])
        assert reader.use("openai", is_whole=False) is None


def test_many_members_are_given_up() -> None:
    """An answer that speaks of usage more often than any does is not looked through."""
    many = {f"a{number}": {"usage": {"prompt_tokens": 1}} for number in range(101)}
    assert read(json.dumps({**many, "usage": USAGE}).encode(), "application/json") is None
    many.popitem()
    many.popitem()
    assert read(json.dumps({**many, "usage": USAGE}).encode(), "application/json") is not None


def test_an_event_that_repeats_the_call_says_nothing() -> None:
    """A stream that broke off before it said what it took did not say it, whatever its first event repeats of the call."""
    begins = {"type": "response.created", "response": {"model": "gpt-5-mini", "usage": None, **ECHO}}
    ends = {"type": "response.completed", "response": {"model": "gpt-5-mini", "usage": USAGE, **ECHO}}
    assert read(events(begins, CHUNK), "text/event-stream") is None
    assert read(events(begins, CHUNK) + b'data: {"usage": {"prompt_tokens": 1}', "text/event-stream") is None
    assert read(events(begins, CHUNK, ends), "text/event-stream") == EXPECTED


def test_an_answer_of_ten_megabytes() -> None:
    """So much of an answer is read at its ends, in whatever pieces."""
    answer = json.dumps({"model": "gpt-5-mini", "data": ["k" * 1_000] * 10_000, "usage": USAGE}).encode()
    assert read(answer, "application/json", size=1_400) == EXPECTED


def test_a_stream_without_lines_is_given_up() -> None:
    """A stream that never ends its line holds a megabyte, and then nothing."""
    reader = AnswerReader("text/event-stream", "")
    for _ in range(10 * LINE // 1_000):
        reader.feed(b"k" * 1_000)
    reader.feed(b"\n" + STREAM)
    assert reader.use("openai") is None


@pytest.mark.parametrize(
    "number", ["-5", "1" + "0" * 30, "1" + "0" * 5_000, '"7"', "NaN", "1e400", "true", "[1]", "{}"]
)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_an_absurd_number_makes_all_unknown(content_type: str, number: str) -> None:
    """Of an answer with a number that none can have, no other number is believed either."""
    answer = b'{"model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": ' + number.encode() + b"}}"
    assert read(b"data: " * ("event" in content_type) + answer + b"\n\n", content_type) is None


@pytest.mark.parametrize("model", ["k" * 1_000_000, "two\nlines", "two\\nlines", "\u2028", "\ud800"])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_an_odd_name_is_none(content_type: str, model: str) -> None:
    """A model's name that is long, or has anything but plain characters in it, is left out, and the numbers count."""
    answer = json.dumps({"usage": USAGE, "model": model}).encode()
    assert read(b"data: " * ("event" in content_type) + answer + b"\n\n", content_type) == TokenUse("", 12, 5, 8)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
def test_an_encoding_that_lies_is_unknown(encoding: str) -> None:
    """An answer that is not compressed as it says is not read, nor is one that is and does not say it."""
    whole = json.dumps(ANSWER).encode()
    assert read(whole, "application/json", encoding) is None
    assert read(gzip.compress(whole), "application/json") is None
    assert read(whole, "text/event-stream") is None


def test_first_and_last_of_many_lines_count() -> None:
    """Of several lines that say it in one piece, the first one names what no later one does, and the last one's numbers count."""
    numbers = [{"usage": {"prompt_tokens": 7, "completion_tokens": one}} for one in (1, 2, 9)]
    stream = events({"model": "gpt-5-mini", **numbers[0]}, CHUNK, *numbers[1:])
    for size in (40, 65_536):
        assert read(stream, "text/event-stream", size=size) == TokenUse("gpt-5-mini", 7, 9, 0)


@given(
    content=st.binary(max_size=300) | st.sampled_from([STREAM, json.dumps(ANSWER).encode(), b'data: {"usage": {']),
    content_type=st.sampled_from(["application/json", "text/event-stream", "application/x+json", "", ";;"]),
    encoding=st.sampled_from(["", "gzip", "deflate", "zstd", "br"]),
    size=st.integers(min_value=1, max_value=50),
)
def test_nothing_in_an_answer_fails_the_call(content: bytes, content_type: str, encoding: str, size: int) -> None:
    """Whatever a provider sends, and says that it is, nothing is raised."""
    read(content, content_type, encoding, size)
