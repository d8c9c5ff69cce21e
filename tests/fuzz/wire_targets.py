"""Bytes on a viewer's connection, as CloudFront is played here: what a provider is sent is what the function was shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from local.simulator.origin_request_event import HOP_BY_HOP, Event
from tests.edge_door import door, head, ok, sending_to, viewer
from tests.fuzz.target import Target
from tests.raw_provider import RawProvider, Seen, raw_provider

KEY = "sk-real-0123456789abcdef"
END = head("GET /end HTTP/1.1", "Host: edge", "Connection: close")
PATIENCE = 0.05
"""Seconds in which a viewer that is not answered gives up: most of what it sent is no whole call."""
_ADDED = {"host", "x-key", "via", "x-forwarded-for", "x-amz-cf-id", "transfer-encoding"}

_HARMLESS = st.lists(
    st.sampled_from(
        ["X-A: a", "x-a: b", "X-A:", "X-B: a,b", "Via: 1.0 a", "TE: trailers", "X-Api-Key: a", "Accept: */*"]
    ),
    max_size=4,
)
_ODD = st.sampled_from(
    [
        *("Host: other", "Connection: X-A", "Connection: close", "Connection: keep-alive", " folded", "Trailer: X-A"),
        *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked"),
        *("Content-Length: 3", "Content-Length: 0", "Content-Length: 03", "Content-Length: 3, 3", "Content-Length: -1"),
        *("Expect: 100-continue", "Expect: coffee", "Upgrade: websocket", "Upgrade: h2c"),
    ]
)
_WITH_BODY = ["POST /a?b=c HTTP/1.1", "POST /a HTTP/1.0", "PUT //a/../b HTTP/1.1", "DELETE /a;b HTTP/1.1"]
_STARTS = [
    *_WITH_BODY,
    "GET /a HTTP/1.1",
    "HEAD /%2e HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "POST /a#b HTTP/1.1",
    "GET /a HTTP/2.0",
]
_HIDDEN = head("POST /hidden HTTP/1.1", "Host: edge", "Content-Length: 0")
_CHUNKS = st.lists(
    st.sampled_from(
        [b"3\r\nabc\r\n", b"03;x=y\r\nabc\r\n", b"A\r\n0123456789\r\n", b"%x\r\n%s\r\n" % (len(_HIDDEN), _HIDDEN)]
    ),
    max_size=3,
).map(b"".join)
_LASTS = st.sampled_from([b"0\r\n\r\n", b"0\r\nX-Api-Key: b\r\n\r\n", b"00;x\r\n\r\n"])
_BYTES = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1", b"\xff"]
)
_EDIT = st.tuples(st.integers(0, 400), st.integers(0, 3), _BYTES | st.binary(max_size=3))


@st.composite
def _calls(draw: st.DrawFn) -> bytes:
    """One to three calls on one connection; of most of them one thing is odd, or a few of all bytes are changed."""
    sent = bytearray()
    for _ in range(draw(st.integers(1, 3))):
        lines, chunks = draw(_HARMLESS), draw(_CHUNKS)
        if draw(st.integers(0, 2)) == 0:
            lines.insert(draw(st.integers(0, len(lines))), draw(_ODD))
        framed = draw(st.sampled_from(["length", "chunks", "length", "nothing"]))
        start = draw(st.sampled_from(_STARTS if framed == "nothing" else _WITH_BODY))
        if framed == "length":
            sent += head(start, "Host: edge", *lines, f"Content-Length: {len(chunks)}") + chunks
        elif framed == "chunks":
            sent += head(start, "Host: edge", *lines, "Transfer-Encoding: chunked") + chunks + draw(_LASTS)
        else:
            sent += head(start, "Host: edge", *lines)
    for place, length, new in draw(st.lists(_EDIT, max_size=2)) if draw(st.booleans()) else []:
        sent[place : place + length] = new
    return bytes(sent)


class Wire:
    """A door between one viewer at a time and a provider. Made by `wired`."""

    def __init__(self, runner: asyncio.Runner, provider: RawProvider) -> None:
        self._runner, self._provider = runner, provider
        self._send = sending_to(provider.port)
        self.shown: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.port = 0

    def targets(self) -> list[Target]:
        """Return what is fuzzed here."""
        return [Target("wire", _calls(), self.check)]

    def handle(self, event: Event, context: object) -> dict[str, Any]:
        """Be the edge function: what `decide` is at the time."""
        return self.decide(event, context)

    def decide(self, event: Event, context: object) -> dict[str, Any]:
        """Send every call on with the key, and remember it."""
        request = event["Records"][0]["cf"]["request"]
        self.shown.append(dict(request, headers=dict(request["headers"])))
        request["headers"]["x-key"] = [{"key": "X-Key", "value": KEY}]
        return self._send(event, context)  # type: ignore[arg-type]  # it looks at no context

    def check(self, sent: bytes) -> None:
        """For any bytes: the answer is HTTP and shows no key, and every call is the one that the function was shown."""
        self.shown.clear()
        self._provider.seen.clear()
        answer = self._runner.run(self._talk(sent + END))
        assert self.faults == []
        assert answer == b"" or answer.startswith(b"HTTP/1."), answer
        assert KEY.encode() not in answer
        shown = iter(self.shown)
        for call in self._provider.seen:
            _check_call(call)
            # In order, and each at most once: a call that was not shown would use the iterator up.
            assert any(_is_of(call, request) for request in shown), f"{call} was not shown so"

    async def _talk(self, sent: bytes) -> bytes:
        tasks, answer = self._tasks(), b""
        async with viewer(self.port) as (reader, writer):
            writer.write(sent)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while data := await reader.read(65_536):
                        answer += data
        async with asyncio.timeout(10):
            while self._tasks() > tasks:  # noqa: ASYNC110  nothing tells when a task ends
                await asyncio.sleep(0.001)
        return answer

    def _tasks(self) -> int:
        """Tasks that end with a viewer's connection; those to the provider are kept, and each has a task of its own."""
        return len(asyncio.all_tasks()) - self._provider.open


def _check_call(call: Seen) -> None:
    assert call.headers["x-key"] == [KEY]
    assert len(call.headers.get("host", ())) == 1
    assert not (HOP_BY_HOP - {"transfer-encoding"}) & call.headers.keys()
    assert not {"content-length", "transfer-encoding"} <= call.headers.keys()
    assert call.headers.get("transfer-encoding", ["chunked"]) == ["chunked"]


def _is_of(call: Seen, request: dict[str, Any]) -> bool:
    """Whether a call is the one that the function was shown as this request."""
    query = request["querystring"]
    body = base64.b64decode(request["body"]["data"]) if "body" in request else b""
    # A value is text, which is sent as UTF-8; the provider's side reads every byte as a character.
    named = {
        name: [entry["value"].encode().decode("latin-1") for entry in found]
        for name, found in request["headers"].items()
    }
    own = {name: values for name, values in call.headers.items() if name not in _ADDED}
    if call.size == 0 and "content-length" not in named:
        own.pop("content-length", None)  # a POST without a body is sent on with that of one of no bytes
    return (
        (call.method, call.target) == (request["method"], f"{request['uri']}?{query}" if query else request["uri"])
        and call.digest == hashlib.sha256(body).hexdigest()
        and own == {name: values for name, values in named.items() if name not in _ADDED}
    )


@contextlib.contextmanager
def wired() -> Iterator[Wire]:
    """Start the door and the provider on an event loop that runs while something is checked."""
    log = logging.getLogger("local.simulator.cloudfront")  # it tells each refusal
    level = log.level
    log.setLevel(logging.CRITICAL)
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        provider = runner.run(stack.enter_async_context(raw_provider(ok)))
        wire = Wire(runner, provider)
        wire.port = runner.run(stack.enter_async_context(door(wire.handle)))
        runner.get_loop().set_exception_handler(lambda _loop, context: wire.faults.append(context))
        try:
            yield wire
        finally:
            runner.run(stack.aclose())
            log.setLevel(level)
