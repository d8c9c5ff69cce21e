"""Calls that have reserved a part of a budget: each is settled when it has ended, however it did."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chalicelib.edge.call import Admitted
from chalicelib.errors import Unavailable
from chalicelib.models.charge import Ending, Seen
from chalicelib.providers.answer_usage import TokenUse

PERIOD: Final = 1.0
"""Seconds from one attempt to the next, while the state is out of reach."""
MOST: Final = 10_000
"""Settlements that wait; what comes on top stays counted as it was reserved."""
_LOG: Final = logging.getLogger("keybroker")
_Settle = Callable[[], object]


class Settlements:
    """Those of one distribution; only for its event loop. `keep()` runs beside it and repeats what failed."""

    def __init__(self, later: Callable[[_Settle], object] | None = None) -> None:
        """later: has another thread do it, where settling waits for a network; None: it is done at once.

        At once means: a caller's next call finds the rest of what this one had reserved.
        """
        self._later = later
        self._waiting: list[_Settle] = []

    def of(self, admitted: Admitted | None) -> Settlement:
        """Return what settles a call, if there is anything to settle."""
        return Settlement(self, admitted)

    def settle(self, settle: _Settle) -> None:
        """Settle now, or when there is a state again. What is repeated counts once."""
        if self._later is not None:
            self._later(lambda: self._try(settle))
        elif self._waiting:  # the last one has failed, and each attempt holds up all else that this loop does
            self._wait(settle)
        else:
            self._try(settle)

    def _try(self, settle: _Settle) -> None:
        if not self._is_settled(settle):
            self._wait(settle)

    def _wait(self, settle: _Settle) -> None:
        if len(self._waiting) < MOST:
            self._waiting.append(settle)

    @staticmethod
    def _is_settled(settle: _Settle) -> bool:
        try:
            settle()
        except Unavailable as fault:
            _LOG.warning("a call stays counted as it was reserved until it can be settled: %s", fault.reason)
            return False
        return True

    async def keep(self) -> None:
        """Repeat what failed until this is cancelled, and once more then."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="edge-settlements")
        try:
            while True:
                await asyncio.sleep(PERIOD)
                await self._repeat(thread)
        finally:
            await self._repeat(thread)
            thread.shutdown(wait=False, cancel_futures=True)

    async def _repeat(self, thread: ThreadPoolExecutor) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not await asyncio.get_running_loop().run_in_executor(thread, self._is_settled, first):
                return  # neither would the others be
            self._waiting.pop(0)  # what came meanwhile stands behind it


class Settlement:
    """One call, from its admission to its end."""

    __slots__ = ("_began", "_failed", "_said", "_settlements", "_status", "_whole", "admitted", "is_stream", "passed")

    def __init__(self, settlements: Settlements, admitted: Admitted | None) -> None:
        self._settlements, self.admitted = settlements, admitted
        self._status, self._whole, self._failed = 0, False, False
        self._said: TokenUse | None = None
        self._began = time.monotonic()
        self.passed = 0
        """Bytes of the answer that went on."""
        self.is_stream = False
        """Whether it is a stream of events as the model puts them out."""

    @property
    def is_due(self) -> bool:
        """Whether the call has reserved anything."""
        return self.admitted is not None and self.admitted.bill is not None

    def answered(self, status: int) -> None:
        """Note the status of the provider's answer."""
        self._status = status

    def failed(self) -> None:
        """Note that the provider broke off, or never answered."""
        self._failed = True

    @property
    def is_success(self) -> bool:
        """Whether the provider answered with a status of 2xx."""
        return 200 <= self._status < 300

    def read(self, said: TokenUse | None, *, is_whole: bool) -> None:
        """Note what the answer says that it took. is_whole: whether all of it went on."""
        self._said, self._whole = said, is_whole

    def end(self) -> None:
        """Settle a call that was sent."""
        bill = None if self.admitted is None else self.admitted.bill
        if bill is None:
            return
        seen = Seen(self._said, self.passed, time.monotonic() - self._began, self.is_stream)
        ending = self._ending()
        self._settlements.settle(lambda: bill.settle(ending, seen))

    def _ending(self) -> Ending:
        if not self._status:
            return Ending.FAILED if self._failed else Ending.LEFT
        if self._status >= 500:
            return Ending.FAILED
        if self._status >= 300:
            return Ending.REFUSED
        if self._whole:
            return Ending.WHOLE
        return Ending.CUT if self.passed or self._failed else Ending.LEFT
