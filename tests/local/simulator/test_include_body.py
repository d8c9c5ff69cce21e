import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from local.simulator import include_body as body_exposure
from local.simulator.cloudfront import make_distribution, make_runner
from local.simulator.include_body import INCLUDED_BYTES
from tests.edge_door import ask, code, door, head, sending_to, served, talk, viewer

LARGE = random.Random(1).randbytes(3 * INCLUDED_BYTES)


@dataclass
class Stage:
    """A distribution before an origin that reads everything. shown: each event's `body`. got: each body at the origin."""

    port: int = 0
    shown: list[dict[str, Any] | None] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = bytearray()
        while chunk := await request.content.readany():
            body += chunk
            if len(body) >= INCLUDED_BYTES:
                self.begun.set()
        self.got.append(bytes(body))
        return web.Response(text="whole")


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    stage = Stage()
    origin = web.Server(stage.serve, handler_cancellation=True, access_log=None, auto_decompress=False)
    async with asyncio.timeout(30), served(origin) as origin_port:
        send = sending_to(origin_port)

        def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's context
            stage.shown.append(event["Records"][0]["cf"]["request"].get("body"))
            return send(event, context)

        async with door(handler) as stage.port:
            yield stage


def sent(body: bytes, framing: str, method: str = "POST") -> bytes:
    if framing == "length":
        return ask(f"{method} /", f"Content-Length: {len(body)}") + body
    pieces = [body[start : start + 70_000] for start in range(0, len(body), 70_000)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return ask(f"{method} /", "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"


async def through(request: bytes) -> tuple[dict[str, Any] | None, bytes, str]:
    """What the function was shown, what the origin got, and the answer's status."""
    async with staged() as stage:
        answer = await talk(stage.port, request)
        return stage.shown[0], (stage.got or [b""])[0], answer[0][0].split(" ")[1]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [1, 70_000, INCLUDED_BYTES - 1, INCLUDED_BYTES])
def test_small_body_is_included(size: int, framing: str) -> None:
    """A body of up to 1 MiB is included completely and passed on unchanged."""
    shown, got, status = asyncio.run(through(sent(LARGE[:size], framing)))
    assert status == "200"
    assert got == LARGE[:size]
    data = base64.b64encode(LARGE[:size]).decode()
    assert shown == {"action": "read-only", "data": data, "encoding": "base64", "inputTruncated": False}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [INCLUDED_BYTES + 1, 3 * INCLUDED_BYTES])
def test_large_body_is_included_in_part(size: int, framing: str) -> None:
    """The first MiB of a larger body is included, and all of it is passed on."""
    shown, got, status = asyncio.run(through(sent(LARGE[:size], framing)))
    assert status == "200"
    assert got == LARGE[:size]
    assert shown is not None
    assert (base64.b64decode(shown["data"]), shown["inputTruncated"]) == (LARGE[:INCLUDED_BYTES], True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_missing_body_is_included_as_empty(method: str) -> None:
    """For a method with bodies, a missing body is included as an empty one."""
    shown, _, status = asyncio.run(through(ask(f"{method} /")))
    assert status == "200"
    assert shown == {"action": "read-only", "data": "", "encoding": "base64", "inputTruncated": False}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_another_method_is_shown_without_a_body(method: str) -> None:
    assert asyncio.run(through(ask(f"{method} /")))[0] is None


def test_origin_gets_the_first_mebibyte_early() -> None:
    """The origin has the first MiB before the rest is sent."""

    async def run() -> bytes:
        async with staged() as stage, viewer(stage.port) as (reader, writer):
            writer.write(ask("POST /", f"Content-Length: {2 * INCLUDED_BYTES}") + LARGE[: INCLUDED_BYTES + 1])
            await stage.begun.wait()
            writer.write(LARGE[INCLUDED_BYTES + 1 : 2 * INCLUDED_BYTES])
            await reader.read(-1)
            return stage.got[0]

    assert asyncio.run(run()) == LARGE[: 2 * INCLUDED_BYTES]


def test_truncation_is_known_first() -> None:
    """The function is invoked once it is known whether the body exceeds 1 MiB."""

    async def run() -> bool:
        async with staged() as stage, viewer(stage.port) as (reader, writer):
            writer.write(ask("POST /", f"Content-Length: {INCLUDED_BYTES + 1}") + LARGE[:INCLUDED_BYTES])
            await writer.drain()
            await asyncio.sleep(0.2)
            assert stage.shown == []
            writer.write(b"x")
            await reader.read(-1)
            assert stage.shown[0] is not None
            return bool(stage.shown[0]["inputTruncated"])

    assert asyncio.run(run())


def test_continue_is_sent_once() -> None:
    """100 Continue is sent once, before the function is invoked."""

    async def run(size: int) -> bytes:
        async with staged() as stage, viewer(stage.port) as (reader, writer):
            writer.write(ask("POST /", "Expect: 100-continue", f"Content-Length: {size}"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert stage.shown == []
            writer.write(LARGE[:size])
            return await reader.read(-1)

    for size in (2, INCLUDED_BYTES + 1, 2 * INCLUDED_BYTES):
        answer = asyncio.run(run(size))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nwhole")


def test_what_goes_to_the_broker_is_not_waited_for() -> None:
    async def run() -> tuple[bytes, bytes]:
        stage = Stage()
        async with asyncio.timeout(10), served(web.Server(stage.serve, access_log=None)) as broker:
            distribution = make_distribution(lambda _event, _context: {}, broker=f"http://127.0.0.1:{broker}")
            runner = make_runner(distribution, grace=0.05)
            async with served(distribution, runner) as port, viewer(port) as (reader, writer):
                start = "POST /anthropic/v1/oauth/token"
                writer.write(ask(start, "Expect: 100-continue", f"Content-Length: {INCLUDED_BYTES + 3}"))
                invited = await reader.readuntil(b"\r\n\r\n")
                writer.write(LARGE[:INCLUDED_BYTES])
                await stage.begun.wait()
                writer.write(b"end")
                answer = await reader.read(-1)
            await distribution.close()
        return invited, answer

    invited, answer = asyncio.run(run())
    assert invited == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.endswith(b"whole")


@pytest.mark.parametrize("name", ["IDLE_TIMEOUT", "TOTAL_TIMEOUT"])
def test_slow_body_is_a_408(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A body that is not received in time is a 408, without invoking the function."""
    monkeypatch.setattr(body_exposure, name, 0.05)

    async def run() -> tuple[tuple[str, str], list[dict[str, Any] | None]]:
        async with staged() as stage, viewer(stage.port) as (reader, writer):
            writer.write(head("POST / HTTP/1.1", "Host: edge", "Content-Length: 9"))
            for _ in range(5):
                writer.write(b"k")
                await asyncio.sleep(0.04 if name == "TOTAL_TIMEOUT" else 0)
            start = await reader.readuntil(b"\r\n\r\n")
            length = int(start.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = start.decode().split("\r\n"), await reader.readexactly(length)
            return code(answer), stage.shown

    assert asyncio.run(run()) == (("408", "body_timeout"), [])


def test_malformed_body_is_a_400() -> None:
    """A malformed body is a 400, without invoking the function."""

    async def run() -> tuple[tuple[str, str], list[dict[str, Any] | None]]:
        async with staged() as stage:
            answer = await talk(stage.port, ask("POST /", "Transfer-Encoding: chunked") + b"2\r\nab\r\nxx\r\n")
            return code(answer), stage.shown

    assert asyncio.run(run()) == (("400", "malformed_request"), [])


def test_hang_up_before_the_body() -> None:
    """A viewer that hangs up before its body was received does not invoke the function."""

    async def run() -> list[dict[str, Any] | None]:
        async with staged() as stage:
            async with viewer(stage.port) as (_, writer):
                writer.write(ask("POST /", "Content-Length: 2") + b"a")
                await writer.drain()
            await asyncio.sleep(0.1)
            return stage.shown

    assert asyncio.run(run()) == []


def test_each_request_has_its_own_body() -> None:
    """Two requests on one connection each have their own body."""

    async def run() -> list[dict[str, Any] | None]:
        async with staged() as stage:
            first = head("POST / HTTP/1.1", "Host: edge", "Content-Length: 2") + b"ab"
            await talk(stage.port, first + sent(b"cde", "chunked"))
            return stage.shown

    shown = asyncio.run(run())
    assert [one and base64.b64decode(one["data"]) for one in shown] == [b"ab", b"cde"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [2, 100_000, INCLUDED_BYTES, INCLUDED_BYTES + 1, 3 * INCLUDED_BYTES])
def test_early_body_is_included(size: int, framing: str) -> None:
    """A body that arrived during the previous call is included up to 1 MiB."""

    async def run() -> tuple[dict[str, Any] | None, bytes]:
        async with staged() as stage, viewer(stage.port) as (reader, writer):
            first = (
                head("POST / HTTP/1.1", "Host: edge", f"Content-Length: {INCLUDED_BYTES + 9}")
                + LARGE[: INCLUDED_BYTES + 5]
            )
            writer.write(first)
            await stage.begun.wait()
            writer.write(b"last" + sent(LARGE[:size], framing))
            await reader.read(-1)
            return stage.shown[1], stage.got[1]

    shown, got = asyncio.run(run())
    assert got == LARGE[:size]
    assert shown is not None
    assert (base64.b64decode(shown["data"]), shown["inputTruncated"]) == (
        LARGE[: min(size, INCLUDED_BYTES)],
        size > INCLUDED_BYTES,
    )
