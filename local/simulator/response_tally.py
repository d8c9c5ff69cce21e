"""How long the answers of one worker took, added up in memory and written every second or so, off the way of every call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import add
from typing import Final

from chalicelib.edge import response_times
from chalicelib.edge.response_times import BOUNDS, FAILED_FROM, SHOWN_SECONDS, Responses, ResponseTimes
from chalicelib.usage import window_start
from local.simulator.periodic_writing import write_every
from local.simulator.viewer_response import CUT, ViewerResponse

PERIOD: Final = 1.0
"""Seconds from one writing to the next, unless told otherwise: what `kill -9` may lose."""
MOST: Final = 12
"""Minutes that wait to be written while the state is out of reach; of more, the newest."""
_LOG: Final = logging.getLogger("keybroker")


class ResponseTally:
    """That of one distribution; only for its event loop. `keep()` runs beside it, and nothing is counted without it."""

    def __init__(self, clock: Callable[[], float] = time.time, period: float = PERIOD) -> None:
        """clock: epoch seconds. period: seconds from one writing to the next."""
        self._clock, self._period = clock, period
        self._waiting: dict[int, list[int]] = {}  # by minute
        self._is_kept = False

    def ended(self, began: float, response: ViewerResponse) -> None:
        """Count an answer, unless it is the edge's own: a refusal, or a page.

        began: when the call's head was there, by `time.perf_counter`.
        """
        failed = response.status >= FAILED_FROM or response.why == CUT
        is_ours = response.is_generated or response.why != ""
        if not self._is_kept or (is_ours and not failed):
            return
        seconds = (response.first_sent_at or time.perf_counter()) - began
        counts = self._counts(window_start("minute", int(self._clock())))
        counts[0] += failed
        counts[response_times.bucket(seconds) + 1] += 1

    def _counts(self, minute: int) -> list[int]:
        """Return what is added up of a minute: how many failed, and how many are in each bucket."""
        held = self._waiting.get(minute)
        if held is None:
            if len(self._waiting) >= MOST:
                del self._waiting[next(iter(self._waiting))]
            held = self._waiting[minute] = [0] * (len(BOUNDS) + 2)
        return held

    async def keep(self, store: Callable[[], ResponseTimes]) -> None:
        """Write what was counted until this is cancelled, and once more then. store: raises Unavailable while there is none."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge-responses")
        self._is_kept = True
        try:
            await write_every(self._period, lambda: self._write(store, thread))
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self, store: Callable[[], ResponseTimes], thread: ThreadPoolExecutor) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        noted = [*_windows(waiting)]
        try:
            await asyncio.get_running_loop().run_in_executor(thread, lambda: store().add(noted))
        except Exception as fault:  # noqa: BLE001  calls go on whatever becomes of this
            # They may be written, and would then be counted twice.
            _LOG.warning("how long answers took is not counted: %s", type(fault).__name__)


def _windows(waiting: Mapping[int, Sequence[int]]) -> Iterator[Responses]:
    """Yield each window that those minutes are in, once."""
    for window in SHOWN_SECONDS:
        added: dict[int, list[int]] = {}
        for minute, counts in waiting.items():
            held = added.setdefault(window_start(window, minute), [0] * len(counts))
            held[:] = map(add, held, counts)
        for start, (failed, *buckets) in added.items():
            yield Responses(window, start, failed, tuple(buckets))
