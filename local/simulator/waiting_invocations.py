"""Invocations of an edge function whose state is beyond a network: in threads, since each waits for the tables.

Every one has an answer in bounded time, whatever the tables, the network or a name look-up do meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from local.simulator.include_body import NotInvokedError

_Result = TypeVar("_Result")

THREADS: Final = 16
"""An admission has three requests in flight, and the edge's client 32 in all; the rest read bodies and sign."""
QUEUE_SECONDS: Final = 1.0
"""Seconds that a call waits for a thread; past them the answer is 503."""
ANSWER_SECONDS: Final = 5.0
"""Seconds that it may take: four round trips of a second at most, and what a look-up of a name may take beside them."""


class WaitingInvocations:
    """The threads. Only for one event loop; `close()` it at the end."""

    def __init__(
        self, threads: int = THREADS, *, queue_seconds: float = QUEUE_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="edge")
        self._free = asyncio.Semaphore(threads)
        self._queue_seconds, self._answer_seconds = queue_seconds, answer_seconds

    async def run(self, invoke: Callable[[], _Result]) -> _Result:
        """Return what `invoke` returns, called in a thread. Raises as it does, or NotInvokedError past the time.

        What is given up runs on in its thread: a call that it admits is given back by who is told of it (`Unsent`).
        """
        # SECURITY: a queue without a bound would be admitted long after its callers have gone
        # (test_a_call_that_finds_no_thread_is_a_503).
        try:
            async with asyncio.timeout(self._queue_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise NotInvokedError("state_slow") from None
        running = asyncio.get_running_loop().run_in_executor(self._threads, invoke)
        running.add_done_callback(self._is_done)
        try:
            done, _ = await asyncio.wait([running], timeout=self._answer_seconds)
        except asyncio.CancelledError:
            # The viewer has gone, and the thread runs on: until it is done, it is this caller's turn.
            await asyncio.wait([running], timeout=self._answer_seconds)
            raise
        if not done:
            raise NotInvokedError("state_slow")
        return running.result()

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_done(self, running: asyncio.Future[_Result]) -> None:
        self._free.release()
        if not running.cancelled():
            running.exception()  # asyncio would quote what nobody asks for any more
