"""A call that is served without a task looks like one that has one: to its caller, its provider, the state and the log."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from chalicelib.edge.door import EdgeDoor
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.usage import Answered, NotAdded
from local.simulator import bursts, counting_together
from local.simulator.answer_tally import AnswerTally
from local.simulator.cloudfront import Distribution
from local.simulator.quick_calls import QuickCall
from local.simulator.running_calls import RunningCalls
from local.simulator.unsent import Unsent
from local.simulator.viewer_response import ViewerResponse
from tests.edge_door import OK, door, head, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import Seen, raw_provider

CHAT, MODELS = "/openai/v1/chat/completions", "/openai/v1/models"
USED = b'{"model": "gpt-5", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}'
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
ANSWERS: dict[str, tuple[bool, Sequence[bytes]]] = {
    "ok": (True, [OK]),
    "used": (True, [head("HTTP/1.1 200 OK", JSON, f"Content-Length: {len(USED)}"), USED]),
    "used in bytes": (
        True,
        [bytes([one]) for one in head("HTTP/1.1 200 OK", JSON, f"Content-Length: {len(USED)}") + USED],
    ),
    "chunked": (True, [head("HTTP/1.1 200 OK", CHUNKED, JSON), b"%x\r\n" % len(USED), USED, b"\r\n0\r\n", b"\r\n"]),
    "trailers": (True, [head("HTTP/1.1 200 OK", CHUNKED), b"2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n"]),
    "bad chunk": (False, [head("HTTP/1.1 200 OK", CHUNKED), b"2\r\nok\r\n", b"zz\r\n"]),
    "half a chunk": (False, [head("HTTP/1.1 200 OK", CHUNKED, JSON), b"9\r\nok"]),
    "until the end": (False, [head("HTTP/1.1 200 OK", JSON), USED[:9], USED[9:]]),
    "closing": (False, [head("HTTP/1.1 200 OK", "Connection: close", "Content-Length: 2"), b"ok"]),
    "1xx": (True, [head("HTTP/1.1 100 Continue"), head("HTTP/1.1 103 Early Hints", "Link: </a>"), OK]),
    "switch": (False, [head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: x"), b"odd"]),
    "204": (True, [head("HTTP/1.1 204 No Content", "X-A: 1")]),
    "304": (True, [head("HTTP/1.1 304 Not Modified", "Content-Length: 9", 'ETag: "a"')]),
    "500": (True, [head("HTTP/1.1 500 Oh", "Content-Length: 2", JSON), b"{}"]),
    "twice": (True, [OK + OK]),
    "garbage behind": (True, [OK + b"garbage\r\n\r\n"]),
    "no http": (False, [b"SSH-2.0\r\n"]),
    "two lengths": (False, [head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3"), b"ok"]),
    "half a head": (False, [b"HTTP/1.1 200 OK\r\nX-A"]),
    "nothing": (False, []),
    "short": (False, [head("HTTP/1.1 200 OK", "Content-Length: 9", JSON), b"{}"]),
    "redirect": (True, [head("HTTP/1.1 302 Found", "Location: https://else.example/", "Content-Length: 0")]),
    "hop": (True, [head("HTTP/1.1 200 OK", "Connection: X-Hop", "X-Hop: 1", "X-A: é", "X-A: 2", "Content-Length: 0")]),
}
BODIES = (b"{}", b"", b'{"model": "gpt-5"}', b"[1]", b"\x00\xff", b"[" + b"1," * 900 + b"1]")
LINES = (
    (),
    ("Accept: a", "accept: b"),
    ("anthropic-beta: oauth-2025-04-20,x", "Cookie: a=b"),
    ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: http", "X-Forwarded-Host: other"),
    ("X-HTTP-Method-Override: DELETE",),
    ("Connection: X-Hop, content-length", "X-Hop: 1"),
    ("Content-Type: application/x-www-form-urlencoded",),
    ("X-Api-Key: sk-own",),
    ("Expect: 100-continue",),
    ("X-A: caf\u00e9",),
    ("Transfer-Encoding: gzip",),
)
WHERE = (
    ("POST", CHAT),
    ("POST", CHAT),
    ("POST", f"{CHAT}?a=b"),
    ("POST", f"{CHAT}?_method=DELETE"),
    ("POST", "/openai/v1/../v1/files"),
    ("POST", "/anthropic/v1/messages"),
    ("GET", MODELS),
    ("GET", f"{MODELS}/gpt-5"),
    ("HEAD", MODELS),
    ("DELETE", MODELS),
    ("OPTIONS", "/"),
    ("GET", "/.well-known/oauth-protected-resource"),
)
CALLS = 90


class Sent(NamedTuple):
    """One call. is_good: whether its token is."""

    method: str
    target: str
    lines: tuple[str, ...]
    body: bytes
    answer: str
    is_good: bool

    def message(self, token: str) -> bytes:
        """The bytes of it."""
        who = f"Authorization: Bearer {token if self.is_good else 'no'}"
        length = [f"Content-Length: {len(self.body)}"] if self.method in {"POST", "DELETE"} else []
        start = f"{self.method} {self.target} HTTP/1.1"
        return head(start, "Host: edge", who, f"X-Answer: {self.answer}", *self.lines, *length) + (
            self.body if length else b""
        )


def calls(seed: int) -> list[Sent]:
    """So many, most of them such as are admitted."""
    chosen = random.Random(seed)  # the same in each run
    found = [Sent("POST", CHAT, (), b"{}", answer, is_good=True) for answer in ANSWERS for _ in range(2)]
    for _ in range(CALLS):
        method, target = chosen.choice(WHERE if chosen.random() < 0.4 else WHERE[:1])
        lines = chosen.choice(LINES) if chosen.random() < 0.4 else ()
        found.append(
            Sent(
                method, target, lines, chosen.choice(BODIES), chosen.choice([*ANSWERS]), is_good=chosen.random() < 0.95
            )
        )
    return found


class Noted:
    """What a distribution tells of its calls: in place of the refusal notes, the response tally and what measures."""

    def __init__(self) -> None:
        self.doors: list[object] = []
        self.said: list[object] = []

    def answered(self, _request_id: str, response: ViewerResponse) -> None:
        self.said.append(("note", response.status, response.why))

    def begun(self) -> float:
        return 1.0

    def ended(self, *said: object) -> None:
        *rest, response = said
        found = (response.status, response.why, response.is_generated) if isinstance(response, ViewerResponse) else ()
        self.said.append((*[one for one in rest if not isinstance(one, str)][-1:], found) if len(said) > 2 else found)

    def add(self, answered: Collection[Answered]) -> NotAdded:
        self.said.append(sorted(answered))
        return NotAdded()


def normal(text: str) -> str:
    """A text without what is another with each call."""
    return re.sub(r"[0-9a-f]{32}", "ID", re.sub(r"Date: [^\r]*|localhost:\d+", "", text))


async def answered(reader: asyncio.StreamReader, method: str) -> tuple[str, bytes, str]:
    """An answer's head, its body, and what became of the connection behind it."""
    start, body = "", b""
    try:
        start = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = start.lower()
        if method == "HEAD" or start.split(" ")[1] in {"204", "304"}:
            pass
        elif "content-length: " in lines:
            body = await reader.readexactly(int(lines.split("content-length: ")[1].split("\r\n")[0]))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            assert await reader.readline() == b"\r\n"
    except (asyncio.IncompleteReadError, ConnectionError):
        return normal(start), b"", "cut"  # how much of it came is a matter of time
    return normal(start), body if b"request_id" not in body else normal(body.decode()).encode(), ""


async def observed(parts: Parts, sent: Sequence[Sent]) -> tuple[list[object], list[object], list[object]]:
    """What callers, the provider and the edge's own books see of calls, each after the other."""
    noted, log, used, unsent, running = Noted(), list[str](), list[object](), Unsent(), RunningCalls()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        stays, pieces = ANSWERS[seen.header("x-answer")]
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        return stays

    def also(key: str, use: TokenUse | None) -> None:
        used.append((key, use))

    async with asyncio.timeout(60), raw_provider(answer) as provider:
        parts.set_key("openai", "sk-real", origin=provider.origin)
        ports = parts.edge_ports(log)._replace(admitted=unsent.admitted)
        made = EdgeDoor(lambda: ports, log.append, lambda _id, refusal: noted.said.append(("refused", refusal.reason)))
        tally = AnswerTally(lambda: NOW, 60.0, also)
        keeping = asyncio.create_task(tally.keep(lambda: noted))
        options = {"unsent": unsent, "running": running, "answers": tally, "url": "https://edge.example"}
        options |= {"notes": noted, "responses": noted, "measured": noted}
        seen = await _talk(parts, sent, made, {**options, "read_and_count_all": parts.edge_state.read_and_count_all})
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        assert (unsent.under_way, running.open) == (0, set())
        got = [replace(one, headers={**one.headers, "x-amz-cf-id": ["ID"], "host": []}) for one in provider.seen]
    return seen, [*got], [*noted.said, *map(normal, log), used, parts.counted()]


async def _talk(parts: Parts, sent: Sequence[Sent], made: EdgeDoor, options: dict[str, object]) -> list[object]:
    seen: list[object] = []
    async with door(made, **options) as port:
        token, left = parts.token(), list(reversed(sent))
        while left:
            async with viewer(port) as (reader, writer):
                while left:
                    one = left.pop()
                    writer.write(one.message(token))
                    async with asyncio.timeout(5):
                        seen.append(found := (one, *await answered(reader, one.method)))
                    if found[-1] or "connection: close" in found[1].lower():
                        break
            await asyncio.sleep(0.002)
    return seen


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Parts]]:
    with contextlib.ExitStack() as stack:
        made = []
        for name in ("quick", "slow"):
            (tmp_path / name).mkdir()
            made.append(stack.enter_context(parts_in(tmp_path / name)))
            made[-1].apply(grant(quota="{tokens: 100/hour, calls: 100/day}"))
        yield made


@pytest.mark.parametrize("many", [100, 1], ids=["one by one", "in groups and bursts"])
def test_quick_as_slow(
    places: list[Parts], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Served either way, the same calls with the same answers show the same to everybody."""
    monkeypatch.setattr(counting_together, "WORTH_IT", many)
    monkeypatch.setattr(bursts, "MANY", many)
    served = itertools.count()
    begin = QuickCall.begin
    monkeypatch.setattr(QuickCall, "begin", lambda self: (next(served), begin(self))[1])
    sent, found = calls(many), []
    for parts in places:
        caplog.clear()
        books = asyncio.run(observed(parts, sent))
        found.append((*books, [normal(one.getMessage()) for one in caplog.records if one.name.startswith("local")]))
        monkeypatch.setattr(Distribution, "quick_call", lambda *_: None)
    assert next(served) > CALLS
    for quick, slow in zip(*found, strict=True):
        for one, other in zip(quick, slow, strict=False):
            assert one == other
        assert len(quick) == len(slow)
