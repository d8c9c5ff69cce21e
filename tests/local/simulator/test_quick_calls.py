"""Calls that come whole, over real sockets: served without a task, and in all else as any other call."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chalicelib.edge.call import Call
from chalicelib.edge.door import EdgeDoor
from chalicelib.edge.known_calls import KnownCall
from local.simulator import bursts, counting_together
from local.simulator.passing import Passing
from local.simulator.quick_calls import QuickCall
from local.simulator.running_calls import RunningCalls
from local.simulator.unsent import Unsent
from local.simulator.viewer_connection import ViewerConnection
from local.simulator.viewer_response import ViewerResponse
from local.sqlite.running_state import SqliteRunningState
from tests.edge_door import OK, answers, door, head, ok, sending_to, viewer
from tests.parts import NOW, Parts, grant, parts_in
from tests.raw_provider import Answer, RawProvider, Seen, raw_provider

CHAT = "POST /openai/v1/chat/completions HTTP/1.1"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with parts_in(tmp_path) as made:
        made.apply(grant())
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[QuickCall]:
    """Those that were served, in order."""
    served: list[QuickCall] = []
    begin = QuickCall.begin

    def note(self: QuickCall) -> None:
        served.append(self)
        begin(self)

    monkeypatch.setattr(QuickCall, "begin", note)
    return served


def call(token: str, body: bytes = b"{}", *lines: str) -> bytes:
    return head(CHAT, "Host: edge", f"Authorization: Bearer {token}", *lines, f"Content-Length: {len(body)}") + body


@asynccontextmanager
async def edge(parts: Parts, answer: Answer = ok) -> AsyncIterator[tuple[RawProvider, int]]:
    """A provider, and the port of an edge before it with the real state, whose running calls are watched."""
    async with asyncio.timeout(30), raw_provider(answer) as provider:
        parts.set_key("openai", "sk-real", origin=provider.origin)
        unsent, running = Unsent(), RunningCalls(clock=lambda: NOW, period=0.02)
        ports = parts.edge_ports([])._replace(admitted=unsent.admitted)
        groups = parts.edge_state.read_and_count_all
        made = EdgeDoor(lambda: ports, lambda _line: None)
        state = SqliteRunningState(parts.state.again())
        watching = asyncio.create_task(running.watch(lambda: state))
        async with door(made, unsent=unsent, running=running, read_and_count_all=groups) as port:
            yield provider, port
        watching.cancel()


async def statuses(reader: asyncio.StreamReader, count: int) -> list[str]:
    found = []
    for _ in range(count):
        start = (await reader.readuntil(b"\r\n\r\n")).decode()
        await reader.readexactly(int(start.lower().split("content-length: ")[1].split("\r\n")[0]))
        found.append(start.split(" ")[1])
    return found


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_a_call_in_one_packet_is_quick(
    parts: Parts, quick: list[QuickCall], monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    """One after the other on one connection each call is served without a task, and counted once."""
    monkeypatch.setattr(counting_together, "WORTH_IT", 1 if together else 100)
    token = parts.token()

    async def run() -> None:
        async with edge(parts) as (provider, port), viewer(port) as (reader, writer):
            for _ in range(3):
                writer.write(call(token))
                assert await answers(reader, 1) == [b"ok"]
            assert (len(provider.seen), provider.made) == (3, 1)

    asyncio.run(run())
    assert len(quick) == 3
    assert parts.counted()["day"] == (3, 0)


@pytest.mark.parametrize("stays", [True, False], ids=["kept", "new connections"])
def test_a_known_head_frames_each_body(parts: Parts, *, stays: bool) -> None:
    """Bodies of other lengths behind the same head arrive whole, on kept connections and on new ones."""
    bodies, token = [b"{}", b'{"a": 1}', b"", b"[" + b"1," * 300 + b"1]", b"{}"], parts.token()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        return await ok(seen, writer) and stays

    async def run() -> list[Seen]:
        async with edge(parts, answer) as (provider, port), viewer(port) as (reader, writer):
            for body in bodies:
                writer.write(call(token, body))
                assert await answers(reader, 1) == [b"ok"]
            return provider.seen

    seen = asyncio.run(run())
    assert [one.digest for one in seen] == [hashlib.sha256(body).hexdigest() for body in bodies]
    assert [one.header("content-length") for one in seen] == [str(len(body)) for body in bodies]
    assert len({one.header("x-amz-cf-id") for one in seen}) == len(bodies)
    assert all(one.header("authorization") == "Bearer sk-real" for one in seen)


def test_another_head_on_a_connection_is_another(parts: Parts) -> None:
    """A connection on which a head is known sends on what each of its calls says, and not what the one before said."""
    token = parts.token()

    async def run() -> None:
        async with edge(parts) as (provider, port), viewer(port) as (reader, writer):
            for said in ("1", "1", "1", "2", "1", "3", "3"):
                writer.write(call(token, b"{}", f"X-Said: {said}"))
                assert await answers(reader, 1) == [b"ok"]
            assert [seen.header("x-said") for seen in provider.seen] == ["1", "1", "1", "2", "1", "3", "3"]

    asyncio.run(run())


def test_a_known_head_is_as_bounded_as_any(parts: Parts) -> None:
    """A length with so many zeros before it that the head is too large is refused behind a known head as well."""
    token = parts.token()

    async def run() -> list[str]:
        async with edge(parts) as (_, port), viewer(port) as (reader, writer):
            writer.write(call(token) + call(token).replace(b"Content-Length: ", b"Content-Length: " + b"0" * 20_200))
            return await statuses(reader, 2)

    assert asyncio.run(run()) == ["200", "413"]


def test_calls_of_one_packet_are_answered_in_order(parts: Parts, quick: list[QuickCall]) -> None:
    """Of several calls in one packet each is served once the one before it was answered, a refusal among them."""
    token, order = parts.token(), list[int]()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        order.append(seen.size)
        await asyncio.sleep(0.01)
        writer.write(OK)
        return True

    async def run() -> list[str]:
        async with edge(parts, answer) as (_, port), viewer(port) as (reader, writer):
            writer.write(call(token, b"1") + call("no", b"12") + call(token, b"123") + call(token, b"1234"))
            return await statuses(reader, 4)

    assert asyncio.run(run()) == ["200", "401", "200", "200"]
    assert order == [1, 3, 4]
    assert len(quick) == 4


def test_a_revocation_stops_the_next_call(parts: Parts) -> None:
    """The call behind one that was admitted is refused, on the same connection and in the same words."""
    token = parts.token()

    async def run() -> list[str]:
        async with edge(parts) as (provider, port), viewer(port) as (reader, writer):
            found = []
            for _ in range(2):
                writer.write(call(token))
                found += await statuses(reader, 1)
                parts.revoke("everything", "*")
            assert len(provider.seen) == 1
            return found

    assert asyncio.run(run()) == ["200", "403"]


def once() -> Answer:
    """Answer the first call, and say nothing to those that follow."""
    seen: list[Seen] = []

    async def answer(call: Seen, writer: asyncio.StreamWriter) -> bool:
        seen.append(call)
        return await ok(call, writer) if len(seen) == 1 else True

    return answer


def test_a_quick_call_is_cut(parts: Parts) -> None:
    """A call that waits for its provider ends when its token is revoked, with the reason, and so does its provider's connection."""
    token = parts.token()

    async def run() -> str:
        async with edge(parts, once()) as (provider, port), viewer(port) as (reader, writer):
            writer.write(call(token))
            await answers(reader, 1)
            writer.write(call(token))
            await provider.until(lambda: len(provider.seen) == 2)
            parts.revoke("everything", "*")
            start = (await reader.readuntil(b"\r\n\r\n")).decode()
            await provider.until(lambda: not provider.open)
            return start.split(" ")[1]

    assert asyncio.run(run()) == "403"


def test_who_hangs_up_ends_the_call(parts: Parts) -> None:
    """A viewer that leaves ends its call at the provider; what was sent stays counted."""
    token = parts.token()

    async def run() -> None:
        async with edge(parts, once()) as (provider, port):
            async with viewer(port) as (reader, writer):
                writer.write(call(token))
                await answers(reader, 1)
                writer.write(call(token))
                await provider.until(lambda: len(provider.seen) == 2)
            await provider.until(lambda: not provider.open)

    asyncio.run(run())
    assert parts.counted()["day"] == (2, 0)


def test_many_calls_get_their_own_answers(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many at once, written in bursts, every caller gets the answer to its own call, whole."""
    monkeypatch.setattr(bursts, "MANY", 2)
    token, many, rounds = parts.token(), 24, 4

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        body = seen.header("x-number").encode() * 700
        writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}")[:-2] + b"\r\n" + body[:100])
        await asyncio.sleep(0)
        writer.write(body[100:])
        return True

    async def talk(port: int, number: int) -> None:
        async with viewer(port) as (reader, writer):
            for turn in range(rounds):
                writer.write(call(token, b"{}", f"X-Number: {number}.{turn}"))
                start = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert start.startswith("HTTP/1.1 200 "), start
                length = int(start.lower().split("content-length: ")[1].split("\r\n")[0])
                assert await reader.readexactly(length) == f"{number}.{turn}".encode() * 700

    async def run() -> None:
        async with edge(parts, answer) as (_, port):
            await asyncio.gather(*(talk(port, number) for number in range(many)))

    parts.apply(grant(quota="{tokens: 100/hour, calls: 1000/day}"))
    asyncio.run(run())
    assert parts.counted()["day"] == (many * rounds, 0)


def test_who_is_gone_before_its_task_begins_is_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer whose connection breaks in the turn in which its call gets a task leaves nothing under way."""
    connections: list[ViewerConnection] = []
    serve = QuickCall._serve_by_task

    def break_first(self: QuickCall, serving: Coroutine[object, object, ViewerResponse]) -> None:
        connections.append(self._connection)
        assert self._connection.transport is not None
        self._connection.transport.abort()  # as where a write fails, or a newcomer takes the place
        serve(self, serving)

    monkeypatch.setattr(QuickCall, "_serve_by_task", break_first)
    unsent = Unsent()

    async def run() -> None:
        async with raw_provider(ok) as provider, door(sending_to(provider.port), unsent=unsent) as port:
            async with viewer(port) as (reader, writer):
                writer.write(call("any"))
                with contextlib.suppress(ConnectionResetError):
                    assert not await asyncio.wait_for(reader.read(), 5)
            await provider.until(lambda: not unsent.under_way, 5)
            assert not connections[0].places

    asyncio.run(run())


@pytest.mark.slow
def test_calls_that_ended_leave_no_garbage(parts: Parts) -> None:
    """Nothing of a call waits for the garbage collector: over a kept connection or a new one, refused, or left by its viewer."""
    token, kinds = parts.token(), (QuickCall, Passing, KnownCall, Call)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        return seen.size == 3 or (await ok(seen, writer) and seen.size != 1)

    async def run() -> list[object]:
        async with edge(parts, answer) as (provider, port), viewer(port) as (reader, writer):
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            for one, body in ((token, b"1"), (token, b"12"), (token, b"12"), ("no", b"")):
                writer.write(call(one, body))
                await statuses(reader, 1)
                await asyncio.sleep(0.02)
            writer.write(call(token, b"123"))
            await provider.until(lambda: len(provider.seen) == 4)
            writer.close()
            await provider.until(lambda: not provider.open)
            gc.collect()
            return [type(one) for one in gc.garbage if isinstance(one, kinds)]

    try:
        found = asyncio.run(run())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found
