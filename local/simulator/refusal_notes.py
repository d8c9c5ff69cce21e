"""The calls that one worker refused, noted in memory and written every second or so, off the way of every call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chalicelib.edge.refused_calls import RefusedCall, RefusedCalls
from chalicelib.errors import Refusal, Unavailable
from local.simulator.periodic_writing import write_every
from local.simulator.viewer_response import CUT, ViewerResponse

PERIOD: Final = 0.5
"""Seconds from one writing to the next, unless told otherwise: what `kill -9` may lose."""
MOST: Final = 200
"""Refusals that wait to be written, unless told otherwise; of more, the newest. So no writing takes long."""
_PRINCIPALS: Final = 4
"""Of so many, all that wait may be; callers that were not verified count as one."""
_LOG: Final = logging.getLogger("keybroker")


class RefusalNotes:
    """Those of one distribution. `keep()` runs beside it, and nothing is noted without it.

    also: is told of each refusal of the door, too.
    """

    def __init__(
        self,
        also: Callable[[str, Refusal], None] = lambda _request_id, _refusal: None,
        clock: Callable[[], float] = time.time,
        period: float = PERIOD,
        most: int = MOST,
    ) -> None:
        """clock: epoch seconds. period: seconds from one writing to the next. most: refusals that wait to be written."""
        self._also, self._clock, self._period = also, clock, period
        self._most, self._most_of_one, self._count = most, most // _PRINCIPALS, 0
        self._lock = threading.Lock()  # calls are refused in threads, too
        self._waiting: dict[str, deque[RefusedCall]] = {}
        self._is_kept = False

    def refused(self, request_id: str, refusal: Refusal) -> None:
        """Note that a call was refused."""
        self._also(request_id, refusal)
        self._note(RefusedCall.of(request_id, refusal, int(self._clock())))

    def ended(self, request_id: str, refusal: Refusal) -> None:
        """Note that a call under way was ended."""
        self._note(RefusedCall.of(request_id, refusal, int(self._clock()), under_way=True))

    def answered(self, request_id: str, response: ViewerResponse) -> None:
        """Note an answer of the edge's own that no refusal was noted for: of a broken request, or a provider out of reach."""
        if response.why and response.why != CUT:
            self._note(RefusedCall(int(self._clock()), request_id, response.why, response.status))

    def _note(self, refused: RefusedCall) -> None:
        if not self._is_kept:
            return
        with self._lock:
            # SECURITY: a flood takes no more room than its own, here as in the store (test_a_flood_takes_its_own_room).
            of_one = self._waiting.setdefault(refused.principal, deque())
            if len(of_one) >= self._most_of_one:
                of_one.popleft()
            elif self._count < self._most:
                self._count += 1
            else:
                self._drop_one()
            of_one.append(refused)

    def _drop_one(self) -> None:
        """Make room among very many principals."""
        principal, of_one = next((name, found) for name, found in self._waiting.items() if found)
        of_one.popleft()
        if not of_one:
            del self._waiting[principal]

    async def keep(self, store: Callable[[], RefusedCalls]) -> None:
        """Write what was noted until this is cancelled, and once more then. store: raises Unavailable while there is none."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge-refusals")
        self._is_kept = True
        try:
            await write_every(self._period, lambda: self._write(store, thread))
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self, store: Callable[[], RefusedCalls], thread: ThreadPoolExecutor) -> None:
        with self._lock:
            waiting, self._waiting, self._count = self._waiting, {}, 0
        every = (one for of_one in waiting.values() for one in of_one)
        # Of a request that was noted twice, what names a principal comes first, and stays.
        refused = sorted(every, key=lambda one: (not one.principal, one.at))
        if not refused:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, lambda: store().keep(refused))
        except Unavailable as fault:
            _LOG.warning("refused calls are in the log alone: %s (%s)", fault.reason, fault.hint)
        except Exception as fault:  # noqa: BLE001  calls go on whatever becomes of this; their lines are in the log
            _LOG.warning("refused calls are in the log alone: %s", type(fault).__name__)
