"""An edge whose state is beyond a network: every call is answered in bounded time, and one that waits holds up no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from chalicelib.edge.call import Admitted
from chalicelib.providers.keys import ProviderKey
from local.simulator.include_body import NotInvokedError
from local.simulator.long_invocations import LARGE, LongInvocations
from local.simulator.unsent import Unsent
from local.simulator.waiting_invocations import WaitingInvocations
from tests.edge_door import ask, code, door, talk

WAIT = 10


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """What ends the functions of a test, which hang until then."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_completes_while_another_waits(go_on: threading.Event) -> None:
    """While one call waits for the tables, others are answered."""
    waits = threading.Event()

    def handler(event: dict[str, object], _context: object) -> dict[str, object]:
        request = event["Records"][0]["cf"]["request"]  # type: ignore[index]
        if request["uri"] == "/waits":
            waits.set()
            return {"status": "200" if go_on.wait(WAIT) else "500"}
        go_on.set()
        return {"status": "200"}

    async def scenario() -> list[str]:
        async with asyncio.timeout(WAIT), door(handler, over_network=True) as port:
            first = asyncio.create_task(talk(port, ask("GET /waits")))
            await asyncio.to_thread(waits.wait, WAIT)
            second = await talk(port, ask("GET /other"))
            return [answer[0][0] for answer in (second, await first)]

    assert asyncio.run(scenario()) == ["HTTP/1.1 200 "] * 2


def test_a_call_that_finds_no_thread_is_a_503(go_on: threading.Event) -> None:
    """A call that waits too long for a thread is refused, and is never made after its answer."""
    made: list[int] = []

    async def scenario() -> None:
        waiting = WaitingInvocations(1, queue_seconds=0.05, answer_seconds=WAIT)
        first = asyncio.create_task(waiting.run(lambda: go_on.wait(WAIT)))
        await asyncio.sleep(0)
        with pytest.raises(NotInvokedError, match="state_slow"):
            await waiting.run(lambda: made.append(1))
        go_on.set()
        assert await first
        assert await waiting.run(lambda: 2) == 2
        waiting.close()

    asyncio.run(scenario())
    assert made == []


def test_a_call_without_end_is_answered_all_the_same(go_on: threading.Event) -> None:
    """A function that hangs is a 503 in bounded time; its thread is given to no other until it has ended."""

    async def scenario() -> None:
        waiting = WaitingInvocations(1, queue_seconds=0.05, answer_seconds=0.05)
        for _ in range(2):
            with pytest.raises(NotInvokedError, match="state_slow"):
                await waiting.run(lambda: go_on.wait(WAIT))
        waiting.close()

    asyncio.run(scenario())


def test_what_a_function_raises_is_raised() -> None:
    """A fault of the function reaches its caller."""

    def fault() -> None:
        raise KeyError("made up")

    async def scenario() -> None:
        waiting = WaitingInvocations(1)
        with pytest.raises(KeyError, match="made up"):
            await waiting.run(fault)
        waiting.close()

    asyncio.run(scenario())


def test_slow_state_is_told_as_a_503(monkeypatch: pytest.MonkeyPatch, go_on: threading.Event) -> None:
    """A viewer is told to try again, in the body that every SDK shows."""
    monkeypatch.setattr(
        "local.simulator.invocations.WaitingInvocations", lambda *_: WaitingInvocations(1, answer_seconds=0.05)
    )

    async def scenario() -> tuple[str, str]:
        async with (
            asyncio.timeout(WAIT),
            door(lambda *_: {"status": "200" if go_on.wait(WAIT) else ""}, over_network=True) as port,
        ):
            return code(await talk(port, ask("GET /slow")))

    assert asyncio.run(scenario()) == ("503", "temporarily_unavailable")


def test_a_flood_of_long_ones_is_refused_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch, go_on: threading.Event
) -> None:
    """A caller's long calls, one after another, wait no longer for their turn than a call may."""
    monkeypatch.setattr("local.simulator.long_invocations.QUEUE_SECONDS", 0.05)

    async def scenario() -> None:
        long = LongInvocations(WaitingInvocations(2, answer_seconds=WAIT))
        first = asyncio.create_task(long.run("flood", lambda: go_on.wait(WAIT)))
        await asyncio.sleep(0)
        with pytest.raises(NotInvokedError, match="busy"):
            await long.run("flood", lambda: None)
        assert await long.run("another", lambda: 1) == 1
        go_on.set()
        assert await first
        long.close()

    asyncio.run(scenario())


def test_a_long_one_who_hangs_up_keeps_its_place(go_on: threading.Event) -> None:
    """A long call that was given up keeps its caller's turn until its thread is done."""
    order: list[str] = []
    begun = threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait(WAIT)
        order.append("first")

    async def scenario() -> None:
        long = LongInvocations(WaitingInvocations(2, answer_seconds=WAIT))
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


def test_large_bodies_have_threads_of_their_own(go_on: threading.Event) -> None:
    """While large bodies wait for the tables in all of their threads, a small call is answered."""
    waits = threading.Semaphore(0)

    def handler(event: dict[str, object], _context: object) -> dict[str, object]:
        request = event["Records"][0]["cf"]["request"]  # type: ignore[index]
        if request["uri"] == "/large":
            waits.release()
            return {"status": "200" if go_on.wait(WAIT) else "500"}
        return {"status": "200"}

    async def scenario() -> str:
        body = b"x" * (LARGE + 1)
        async with asyncio.timeout(WAIT), door(handler, over_network=True) as port:
            lines = [
                ask("POST /large", f"Authorization: Bearer {one}", f"Content-Length: {len(body)}") for one in "abcd"
            ]
            large = [asyncio.create_task(talk(port, line + body)) for line in lines]
            for _ in large:
                await asyncio.to_thread(waits.acquire, timeout=WAIT)
            small = await talk(port, ask("GET /small"))
            go_on.set()
            await asyncio.gather(*large)
            return small[0][0]

    assert asyncio.run(scenario()) == "HTTP/1.1 200 "


def test_numbers_are_given_back_elsewhere() -> None:
    """Where giving back waits for a network, another thread does it; what is admitted late is given back where it is."""
    given_back, later = list[str](), list[Callable[[], None]]()
    unsent = Unsent(later.append)
    unsent.begun("r-1")
    key = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "made-up")
    unsent.admitted("r-1", Admitted(key, "sub", "grant", "jti", give_back=given_back.append))
    unsent.ended("r-1")
    assert given_back == []
    later.pop()()
    assert given_back == ["not_sent"]
