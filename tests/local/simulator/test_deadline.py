"""Holds local/simulator/deadline.py: one timer for a call, however often its deadline moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from local.simulator.deadline import Deadline

SOON = 0.01
"""Seconds."""


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(10):
            await case()

    asyncio.run(within())


async def ends(deadline: Deadline, *steps: Callable[[], Awaitable[None]]) -> None:
    """Take the steps within a deadline, and wait until it ends."""
    with deadline:
        for step in steps:
            await step()
        await asyncio.Event().wait()


def step(act: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def taken() -> None:
        act()

    return taken


async def passes(seconds: float) -> None:
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


def test_a_silent_origin_ends_the_block() -> None:
    """What waits for longer than an origin may be silent gets TimeoutError, and its task is not cancelled."""

    async def case() -> None:
        deadline = Deadline(SOON)
        with pytest.raises(TimeoutError):
            await ends(deadline, step(deadline.is_sent))
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(case)


def test_a_deadline_that_moves_ends_later() -> None:
    """A timer that fires before the deadline waits for the rest of it."""

    async def case() -> None:
        loop, deadline = asyncio.get_running_loop(), Deadline(3 * SOON)
        began = loop.time()
        steps = step(deadline.is_sent), lambda: passes(2 * SOON), step(deadline.waits_for_origin)
        with pytest.raises(TimeoutError):
            await ends(deadline, *steps)
        assert loop.time() >= began + 5 * SOON

    run(case)


def test_an_earlier_deadline_is_kept() -> None:
    """A silence that may be shorter than a body's standstill ends the call in its own time."""

    async def case() -> None:
        deadline = Deadline(SOON)
        with pytest.raises(TimeoutError):
            await ends(deadline, step(deadline.body_moves), step(deadline.is_sent))

    run(case)


@pytest.mark.parametrize("seconds", [SOON, None])
def test_an_answer_has_no_deadline(seconds: float | None) -> None:
    """Once the answer's head is there, or where an origin may be silent, nothing ends the block."""

    async def case() -> None:
        with Deadline(seconds) as deadline:
            deadline.is_sent()
            deadline.is_answered()
            deadline.is_sent()  # of a body that was answered before its end
            await passes(2 * SOON)

    run(case)


def test_a_call_sets_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of many chunks sets one timer, and none is left of it."""

    async def case() -> None:
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        call_at = loop.call_at

        def counted(when: float, act: Callable[[], None]) -> asyncio.TimerHandle:
            timers.append(call_at(when, act))
            return timers[-1]

        monkeypatch.setattr(loop, "call_at", counted)
        with Deadline(60) as deadline:
            deadline.is_sent()
            deadline.is_answered()
            for _ in range(100):
                deadline.waits_for_origin()
        deadline.body_moves()  # a body whose task ends later
        assert [timer.cancelled() for timer in timers] == [True]

    run(case)


def test_who_cancels_meanwhile_is_heard() -> None:
    """A task that another cancels as its deadline ends is cancelled, and not merely late."""

    async def case() -> None:
        async def serve() -> None:
            with Deadline(SOON) as deadline:
                deadline.is_sent()
                try:
                    await asyncio.Event().wait()
                finally:
                    serving.cancel()

        serving = asyncio.create_task(serve())
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(case)


def test_a_deadline_is_begun_again() -> None:
    """What rests ends nothing, whenever its timer fires, and the next call has its own time and its own end."""

    async def case() -> None:
        late: list[str] = []
        loop, deadline = asyncio.get_running_loop(), Deadline(None)
        deadline.begin(SOON, lambda: late.append("first"))
        deadline.is_sent()
        deadline.rest()
        await passes(2 * SOON)
        assert late == []
        deadline.begin(3 * SOON, lambda: late.append("second"))
        deadline.is_sent()
        deadline.rest()  # its timer is still set
        began = loop.time()
        deadline.begin(4 * SOON, lambda: late.append("third"))
        deadline.is_sent()
        while not late:
            await passes(SOON)
        assert late == ["third"]
        assert loop.time() >= began + 4 * SOON
        deadline.begin(SOON, lambda: late.append("fourth"))
        deadline.is_sent()
        deadline.close()
        await passes(2 * SOON)
        assert late == ["third"]

    run(case)
