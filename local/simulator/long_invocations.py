"""Invocations of the edge function that may take long: in a few threads, off the event loop, and one at a time for each caller.

So a caller that sends what takes long to read waits for itself: a small call is never behind it, and another caller's
large one is behind at most one of its.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aiohttp import web

from local.simulator.include_body import NotInvokedError
from local.simulator.waiting_invocations import QUEUE_SECONDS, WaitingInvocations

_Result = TypeVar("_Result")

LARGE: Final = 16_384
"""Bytes of a body that are read on the event loop at most."""
MARKS: Final = 256
"""Braces, brackets and colons in it at most: of 16 KiB, reading six thousand objects took 15 ms."""
THREADS: Final = 2
"""More would not read faster: the interpreter runs one at a time."""
LONG_THREADS: Final = 4
"""Those of an edge whose state is beyond a network, which each waits for as well."""
WAITING: Final = 64
"""Long invocations of one caller that may wait, each with a MiB of its body."""
_CREDENTIALS: Final = ("authorization", "x-api-key", "x-goog-api-key", "api-key")


@dataclass(slots=True)
class _Lane:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


def takes_long(body: bytes | bytearray) -> bool:
    """Return whether a function that reads this body may take longer than about a millisecond."""
    return len(body) > LARGE or (len(body) > MARKS and sum([body.count(mark) for mark in b"{[:"]) > MARKS)


class LongInvocations:
    """The threads, and who waits for them. `close()` it at the end."""

    def __init__(self, waiting: WaitingInvocations | None = None) -> None:
        """waiting: the threads for them if their state is beyond a network, so that all of them end in bounded time."""
        self._waiting = waiting
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="edge-long")
        self._free = asyncio.Semaphore(THREADS)
        self._lanes: dict[Hashable, _Lane] = {}

    async def run(self, caller: Hashable, invoke: Callable[[], _Result]) -> _Result:
        """Return what `invoke` returns, called in a thread in its caller's turn. Raises as it does, or NotInvokedError.

        caller: what tells callers apart; it is held while they wait.
        """
        lane = self._lanes.setdefault(caller, _Lane())
        if lane.waiting >= WAITING:
            raise NotInvokedError("busy")
        lane.waiting += 1
        try:
            # SECURITY: a caller has one place in the queue for the threads, however many calls it sends
            # (test_a_flood_waits_for_itself).
            async with self._turn(lane):
                return await self._begin(invoke)
        finally:
            lane.waiting -= 1
            if not lane.waiting:
                del self._lanes[caller]

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._waiting is not None:
            self._waiting.close()

    @contextlib.asynccontextmanager
    async def _turn(self, lane: _Lane) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(None if self._waiting is None else QUEUE_SECONDS):
                await lane.turn.acquire()
        except TimeoutError:
            raise NotInvokedError("busy") from None
        try:
            yield
        finally:
            lane.turn.release()

    async def _begin(self, invoke: Callable[[], _Result]) -> _Result:
        if self._waiting is not None:
            return await self._waiting.run(invoke)
        async with self._free:
            return await self._run(invoke)

    async def _run(self, invoke: Callable[[], _Result]) -> _Result:
        running = asyncio.get_running_loop().run_in_executor(self._threads, invoke)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The viewer has gone, and the thread runs on: until it is done, it is this caller's turn.
            await asyncio.wait([running])
            raise


def caller(request: web.BaseRequest) -> str:
    """Return what tells callers apart before any token is verified: the first credential that they send, or the address."""
    # SECURITY: one alone, and its last word, so that nothing that is sent beside it makes a caller two
    # (test_a_caller_is_one_whatever_it_adds).
    for name in _CREDENTIALS:
        if sent := request.headers.get(name, "").split()[-1:]:
            return sent[0]
    return request.query.get("key") or request.remote or ""
