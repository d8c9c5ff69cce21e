"""Heads that came before: known by every byte of them but for a body's length, which each head says of its own."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.door import Request
from chalicelib.edge.headers import Headers
from chalicelib.edge.known_calls import KnownCall
from chalicelib.models.body import CallBody
from local.simulator import known_heads
from local.simulator.function_result import OriginRequest
from local.simulator.known_heads import MOST_BYTES, MOST_DIGITS, KnownHead, KnownHeads, Words, words
from local.simulator.origin_exchange import REQUEST_ID, HeadForm, OriginCall, head

LINES = (("Host", "edge"), ("Authorization", "Bearer t"), ("Content-Length", "2"), ("X-A", "1"))
ID = "0123456789abcdef0123456789abcdef"


def said(
    *lines: tuple[str, str], method: str = "POST", target: str = "/openai/v1/x", remote: str = "192.0.2.7"
) -> Words:
    return words(make_mocked_request(method, target, lines or LINES).clone(remote=remote))


@pytest.mark.parametrize(
    "other",
    [
        said(*LINES[:3], ("X-A", "2")),
        said(*LINES[:3], ("x-a", "1")),
        said(*LINES[:3]),
        said(*LINES, ("X-A", "1")),
        said(LINES[1], LINES[0], *LINES[2:]),
        said(LINES[2], LINES[0], LINES[1], LINES[3]),
        said(LINES[0], ("Authorization", "Bearer u"), *LINES[2:]),
        said(LINES[0], LINES[1], ("content-length", "2"), LINES[3]),
        said(LINES[0], LINES[1], LINES[3]),
        said(method="PUT"),
        said(target="/openai/v1/x?"),
        said(target="/openai/v1/X"),
        said(remote="192.0.2.8"),
    ],
)
def test_a_head_is_known_by_all_of_it(other: Words) -> None:
    """Another byte, order or spelling of a line, another method, target or address: it is another head."""
    assert other != said()


def test_only_the_length_may_differ() -> None:
    """Heads of bodies of different lengths are the same; in a rare spelling of its name the length counts, too."""
    assert said(*LINES[:2], ("Content-Length", "12345"), LINES[3]) == said()
    assert said(("CONTENT-LENGTH", "2")) != said(("CONTENT-LENGTH", "3"))


def test_a_length_of_many_digits_counts() -> None:
    """A length with many zeros before it makes another head, whose size is looked at for itself."""
    assert said(*LINES[:2], ("Content-Length", "2".zfill(MOST_DIGITS + 1)), LINES[3]) != said()


_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
_HEADER = st.tuples(st.from_regex(r"X-[A-Za-z]{1,8}", fullmatch=True), _TEXT)


@given(
    st.lists(_HEADER, max_size=5),
    st.lists(_HEADER, max_size=5),
    st.integers(0, 10**12),
    st.sampled_from(["POST", "GET"]),
)
def test_a_form_makes_the_same_head(
    before: list[tuple[str, str]], after: list[tuple[str, str]], size: int, method: str
) -> None:
    """What a form makes for a length and an id is what would be written without one, byte for byte."""
    sent = [("Host", "api.example"), *before, ("content-Length", "7"), *after]
    form = HeadForm.of(method, OriginRequest("https://api.example:443", "/v1/x?y", sent, 5))
    lengthy = [(name, str(size) if name == "content-Length" else value) for name, value in sent]
    call = OriginCall(method, "https://api.example:443", "/v1/x?y", [*lengthy, (REQUEST_ID, ID)], b"")
    assert form.head(str(size), ID) == head(call)


def test_a_form_without_a_length() -> None:
    """A request without a body says no length, or 0 where its method has bodies."""
    for method, last in (("GET", b""), ("POST", b"Content-Length: 0\r\n")):
        form = HeadForm.of(method, OriginRequest("https://api.example:443", "/", [("Host", "api.example")], 5))
        line = f"{method} / HTTP/1.1\r\nHost: api.example\r\nX-Amz-Cf-Id: {ID}\r\n".encode()
        assert form.head("", ID) == line + last + b"\r\n"


def test_another_length_is_another_request() -> None:
    """The request for a body of another length has that length, and all else."""
    asked = OriginRequest("https://api.example:443", "/", [("Content-Length", "7"), ("X", "1")], 5)
    assert asked.with_length("12") == OriginRequest(
        "https://api.example:443", "/", [("Content-Length", "12"), ("X", "1")], 5
    )
    assert asked.headers[0] == ("Content-Length", "7")


def known() -> KnownHead:
    return KnownHead(Request("POST", "/openai/v1/x", "", Headers(), "192.0.2.7", known=KnownCall()), CallBody())


def test_so_many_heads_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was added first is forgotten for one too many."""
    monkeypatch.setattr(known_heads, "MOST", 8)
    heads = KnownHeads()
    for number in range(9):
        for _ in range(2):
            heads.add(said(("X", str(number))), known())
    assert heads.find(said(("X", "0"))) is None
    assert heads.find(said(("X", "1"))) is not None


def test_a_long_head_is_not_remembered() -> None:
    """What callers may make a worker remember is bounded in bytes, too."""
    heads = KnownHeads()
    for size, found in ((MOST_BYTES - 1, True), (MOST_BYTES, False)):
        line = ("X", "a" * size)
        for _ in range(2):
            heads.add(said(line), known())
        assert (heads.find(said(line)) is not None) is found


def test_a_head_that_came_once_is_not_remembered() -> None:
    """Heads with an id of their own, which never come again, take no room of those that do."""
    heads = KnownHeads()
    heads.add(said(), known())
    assert heads.find(said()) is None
    heads.add(said(), known())
    assert heads.find(said()) is not None
