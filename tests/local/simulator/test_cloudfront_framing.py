"""How a call's bytes are cut: what can be read in two ways, or is too much, reaches no provider."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from tests.edge_door import code, head, talk, through, viewer
from tests.raw_provider import RawProvider, Seen

NO_HTTP = ("400", "malformed_request")
TOO_LARGE = ("413", "request_too_large")
CODING = ("400", "transfer_coding_not_supported")


def refusal(sent: bytes) -> tuple[str, str]:
    """The door's answer to bytes of which no call reaches the provider: its status and its code."""
    got: list[tuple[str, str]] = []

    async def serve(_provider: RawProvider, port: int) -> None:
        got.append(code(await talk(port, sent)))

    assert through(serve).seen == []
    return got[0]


def passed(sent: bytes) -> Seen:
    """What reaches the provider of bytes that are one call."""

    async def serve(_provider: RawProvider, port: int) -> None:
        lines, body = await talk(port, sent)
        assert (lines[0], body) == ("HTTP/1.1 200 OK", b"ok")

    (seen,) = through(serve).seen
    return seen


def post(*lines: str) -> bytes:
    return head("POST / HTTP/1.1", "Host: edge", "Connection: close", *lines)


def get(*lines: str) -> bytes:
    return head("GET / HTTP/1.1", "Host: edge", "Connection: close", *lines)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# where a body ends


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("Transfer-Encoding: chunked", "Content-Length: 3"), NO_HTTP),
        (("Content-Length: 3", "Transfer-Encoding: chunked"), NO_HTTP),
        (("Content-Length: 3", "Content-Length: 4"), NO_HTTP),
        (("Content-Length: 3", "Content-Length: 3"), NO_HTTP),
        (("Content-Length: 3, 3",), NO_HTTP),
        (("Content-Length: +3",), NO_HTTP),
        (("Content-Length: -3",), NO_HTTP),
        (("Content-Length: 0x3",), NO_HTTP),
        (("Content-Length: 3.0",), NO_HTTP),
        (("Content-Length:",), NO_HTTP),
        (("Content-Length: 99999999999999999999999",), NO_HTTP),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), NO_HTTP),
        (("Transfer-Encoding: gzip, chunked, identity",), NO_HTTP),
        (("Transfer-Encoding: identity",), NO_HTTP),
        (("Transfer-Encoding : chunked",), NO_HTTP),
        ((" Transfer-Encoding: chunked",), NO_HTTP),
        (("X: a", " Transfer-Encoding: chunked"), NO_HTTP),
        (("Transfer-Encoding: xchunked",), NO_HTTP),
        (("Transfer-Encoding: gzip, chunked",), CODING),
        (("Transfer-Encoding: chunked, chunked",), NO_HTTP),
    ],
)
def test_ambiguous_framing_is_refused(lines: tuple[str, ...], expected: tuple[str, str]) -> None:
    """A call that can be framed in two ways does not reach the provider."""
    # SECURITY: two readers that differ about where a call ends let one caller's bytes be another caller's call.
    assert refusal(post(*lines) + b"3\r\nabc\r\n0\r\n\r\n") == expected


@pytest.mark.parametrize(
    "chunks",
    [
        b"3\nabc\n0\n\n",
        b"3\rabc\r0\r\r",
        b"\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",  # 3, to who keeps 64 bits of it
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"4\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX A: b\r\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused(chunks: bytes) -> None:
    """Malformed chunks do not reach the provider."""
    # SECURITY: as above; what others are lenient about is refused here.
    assert refusal(post("Transfer-Encoding: chunked") + chunks) == NO_HTTP


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n", b"0123456789abcdefghij"),
        (b"0" * 100 + b"3\r\nabc\r\n000\r\n\r\n", b"abc"),
        (b'3;name=value;other="a b"\r\nabc\r\n0;last\r\n\r\n', b"abc"),
        (b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"1\r\na\r\n" * 70_000 + b"0\r\n\r\n", b"a" * 70_000),
        (b"0\r\n\r\n", b""),
    ],
    ids=["both cases", "zeros", "extensions", "a large extension", "70,000 chunks", "none"],
)
def test_unusual_chunks_are_passed(chunks: bytes, body: bytes) -> None:
    """Unusual but valid chunks reach the provider as the same body."""
    seen = passed(post("Transfer-Encoding: chunked") + chunks)
    assert (seen.size, seen.digest, seen.header("transfer-encoding")) == (len(body), digest(body), "chunked")


def test_unannounced_body_ends_the_connection() -> None:
    """A body without Content-Length or chunks is not part of the call, and ends the connection."""
    sent = head("POST / HTTP/1.1", "Host: edge") + b'{"model": 1}'
    got: list[bytes] = []

    async def serve(_provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            writer.write(sent)
            got.append(await reader.read(-1))

    assert [one.size for one in through(serve).seen] in ([], [0])
    assert got[0].endswith(b"}")
    assert b'"malformed_request"' in got[0]


# how much a head may be


@pytest.mark.parametrize(
    "lines",
    [
        ("X: " + "a" * 100_000,),
        ("X" * 100_000 + ": a",),
        tuple(f"X-{number}: {'a' * 1_000}" for number in range(100)),
        ("a: b",) * 10_000,
        ("a:",) * 257,
        ("Cookie: a=b",) * 5_000,
        ("Authorization: Bearer " + "a" * 100_000,),
    ],
    ids=["a value", "a name", "a hundred", "ten thousand", "257", "cookies", "a token"],
)
def test_too_many_headers_are_a_413(lines: tuple[str, ...]) -> None:
    """Too many headers are a 413, and do not reach the provider."""
    assert refusal(get(*lines)) == TOO_LARGE


def test_a_target_of_100_kb_is_answered_413() -> None:
    assert refusal(head("GET /" + "a" * 100_000 + " HTTP/1.1", "Host: edge", "Connection: close")) == TOO_LARGE


@pytest.mark.parametrize("trailers", [("X: " + "a" * 100_000,), ("X: a",) * 1_000], ids=["100 KB", "a thousand"])
def test_too_many_trailers_are_a_413(trailers: tuple[str, ...]) -> None:
    """Too many trailers are a 413, and do not reach the provider."""
    end = "\r\n".join(("0", *trailers, "", "")).encode()
    assert refusal(post("Transfer-Encoding: chunked") + b"3\r\nabc\r\n" + end) == TOO_LARGE


def test_huge_head_is_not_read() -> None:
    """A head of many megabytes is not read to its end."""

    async def serve(_provider: RawProvider, port: int) -> None:
        async with viewer(port) as (_, writer):
            writer.write(head("GET / HTTP/1.1", "Host: edge")[:-2] + b"X: ")
            try:
                for _ in range(1_000):
                    writer.write(b"a" * 65_536)
                    await writer.drain()
                pytest.fail("64 MB of a header were taken")
            except ConnectionError:
                pass

    assert through(serve).seen == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("X: a\0b",), NO_HTTP),
        (("X: a\rY: b",), NO_HTTP),
        (("X: a", " folded"), NO_HTTP),
        (("no colon",), NO_HTTP),
        ((": no name",), NO_HTTP),
        (("X Y: a",), NO_HTTP),
        (("Host: other",), NO_HTTP),
    ],
)
def test_a_head_that_is_no_http_reaches_no_provider(lines: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert refusal(get(*lines)) == expected


def test_malformed_response_is_a_502() -> None:
    """A response that is too large or malformed is a 502."""
    heads = [
        head("HTTP/1.1 200 OK", "Content-Length: 2", "X: " + "a" * 100_000),
        head("HTTP/1.1 200 OK", "Content-Length: 2", *("X: a",) * 300),
        head("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked"),
        head("HTTP/1.1 200 OK", "Content-Length: 2", "X: a\rY: b"),
        head("HTTP/1.1 1000 OK", "Content-Length: 2"),
        b"ok\r\n\r\n",
    ]
    left = iter(heads)

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(next(left) + b"ok")
        await writer.drain()
        return False

    async def serve(_provider: RawProvider, port: int) -> None:
        for _ in heads:
            lines, body = await talk(port, get())
            assert lines[0] == "HTTP/1.1 502 Bad Gateway"
            assert json.loads(body)["error"]["code"] == "origin_unreachable"

    assert len(through(serve, answer).seen) == len(heads)


@pytest.mark.parametrize("option", ["content-length", "Content-Length, keep-alive", "close, CONTENT-LENGTH"])
@pytest.mark.parametrize("is_split", [False, True], ids=["in one piece", "in two"])
def test_a_connection_option_leaves_the_length(option: str, *, is_split: bool) -> None:
    """A `Connection` header cannot take the length off: the body would be the provider's next call, past every check."""
    body = get()
    sent = head("POST / HTTP/1.1", "Host: edge", f"Connection: {option}", f"Content-Length: {len(body)}")

    async def serve(_provider: RawProvider, port: int) -> None:
        async with viewer(port) as (reader, writer):
            for piece in (sent, body) if is_split else (sent + body,):
                writer.write(piece)
                await asyncio.sleep(0.02)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.02)

    (seen,) = through(serve).seen
    assert (seen.header("content-length"), seen.digest) == (str(len(body)), digest(body))


def test_an_answer_whose_framing_breaks_is_broken_off() -> None:
    """A chunk of the provider's that is none ends the answer at once, not with the time that a provider may be silent."""

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"zz\r\n")
        return True

    async def serve(_provider: RawProvider, port: int) -> None:
        async with asyncio.timeout(5), viewer(port) as (reader, writer):
            writer.write(post("Content-Length: 0"))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readuntil(b"\r\n0\r\n")

    assert len(through(serve, answer).seen) == 1
