from __future__ import annotations

import asyncio
import threading

import pytest
from aiohttp.test_utils import make_mocked_request

from local.simulator.include_body import NotInvokedError
from local.simulator.long_invocations import (
    LARGE,
    MARKS,
    THREADS,
    WAITING,
    LongInvocations,
    caller,
    takes_long,
)
from tests.edge_door import ask, door, talk

WAIT = 10
"""Seconds until a test that waits for another thread gives up."""


@pytest.mark.parametrize(
    ("body", "long"),
    [
        (b"", False),
        (b"x" * LARGE, False),
        (b"x" * (LARGE + 1), True),
        (b"{[:" * (MARKS // 3), False),
        (b"{[:" * (MARKS // 3 + 1), True),
    ],
)
def test_takes_long(body: bytes, long: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A body is read off the loop if it is large or has many objects, lists and members."""
    assert takes_long(body) is long


def test_a_call_completes_while_a_body_is_read() -> None:
    """While the function reads a costly body, another call is answered; on the loop this would never end."""
    reading, answered = threading.Event(), threading.Event()

    def handler(event: dict[str, object], _context: object) -> dict[str, object]:
        request = event["Records"][0]["cf"]["request"]  # type: ignore[index]
        if request["uri"] == "/costly":
            reading.set()
            return {"status": "200" if answered.wait(WAIT) else "500"}
        answered.set()
        return {"status": "200"}

    async def scenario() -> list[str]:
        async with asyncio.timeout(WAIT), door(handler) as port:
            body = b"{}," * (MARKS + 1)
            costly = asyncio.create_task(talk(port, ask("POST /costly", f"Content-Length: {len(body)}") + body))
            await asyncio.to_thread(reading.wait, WAIT)
            small = await talk(port, ask("GET /small"))
            return [answer[0][0] for answer in (small, await costly)]

    assert asyncio.run(scenario()) == ["HTTP/1.1 200 "] * 2


def test_a_flood_waits_for_itself() -> None:
    """A caller's calls run one at a time, and another caller's is not behind those that wait."""
    begun, go_on = threading.Event(), threading.Event()
    running: list[int] = []

    def flood() -> None:
        running.append(threading.get_ident())
        begun.set()
        go_on.wait(WAIT)

    async def scenario() -> None:
        long = LongInvocations()
        async with asyncio.timeout(WAIT):
            sent = [asyncio.create_task(long.run("flood", flood)) for _ in range(10 * THREADS)]
            await asyncio.to_thread(begun.wait, WAIT)
            assert await long.run("another", lambda: "at once") == "at once"
            assert len(running) == 1
            go_on.set()
            await asyncio.gather(*sent)
        long.close()

    asyncio.run(scenario())
    assert len(running) == 10 * THREADS


def test_who_hangs_up_keeps_its_place() -> None:
    """A call that was given up runs on, and until it is done its caller's next one waits."""
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        begun.set()
        go_on.wait(WAIT)
        order.append("first")

    async def scenario() -> None:
        long = LongInvocations()
        async with asyncio.timeout(WAIT):
            given_up = asyncio.create_task(long.run("one", first))
            await asyncio.to_thread(begun.wait, WAIT)
            given_up.cancel()
            second = asyncio.create_task(long.run("one", lambda: order.append("second")))
            await asyncio.sleep(0)
            go_on.set()
            await second
            with pytest.raises(asyncio.CancelledError):
                await given_up
        long.close()

    asyncio.run(scenario())
    assert order == ["first", "second"]


def test_too_many_waiting() -> None:
    """More of one caller's calls than may wait are refused; another caller's are not."""
    go_on = threading.Event()

    async def scenario() -> None:
        long = LongInvocations()
        async with asyncio.timeout(WAIT):
            sent = [asyncio.create_task(long.run("flood", lambda: go_on.wait(WAIT))) for _ in range(WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(NotInvokedError, match="busy"):
                await long.run("flood", lambda: None)
            assert await long.run("another", lambda: 1) == 1
            go_on.set()
            await asyncio.gather(*sent)
            assert await long.run("flood", lambda: 2) == 2
        long.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "headers", "known_by"),
    [
        ("/?key=b", {"Authorization": "Bearer a"}, "a"),
        ("/?key=c", {"Authorization": "bearer  a", "X-Api-Key": "d"}, "a"),
        ("/?key=c", {"X-Api-Key": "a"}, "a"),
        ("/?key=a", {}, "a"),
    ],
)
def test_a_caller_is_one_whatever_it_adds(path: str, headers: dict[str, str], known_by: str) -> None:
    """A caller is known by the first credential that it sends, so that what it adds gives it no further place."""
    assert caller(make_mocked_request("POST", path, headers)) == known_by
