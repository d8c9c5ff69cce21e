"""Keeps the state file small: checkpoints, the removal of what has ended, and of its pages. Nothing relies on it."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from chalicelib.errors import Unavailable
from local.sqlite import shrink
from local.sqlite.state_file import StateFile
from local.sqlite.steady_clock import Reading, SteadyClock, reader
from local.sqlite.sweep import sweep, sweep_records
from local.sqlite.write_ahead_log import WriteAheadLog

TICK_SECONDS = 0.25
CHECKPOINT_SECONDS = 2
SWEEP_SECONDS = 60
PAUSE_SECONDS = 0.02
"""Between two transactions of a sweep, for those who write."""


class Upkeep:
    """Acts at intervals, by a clock that nobody sets. A state file that is missing is left alone until it is back.

    read: reads both clocks. keep: seconds that events, replaced policies and ended revocations are kept; None: for good.
    """

    def __init__(self, state: StateFile, read: Callable[[], Reading] | None = None, keep: int | None = None) -> None:
        self._state = state
        self._read = read or reader()
        self._keep = keep
        self._clock = SteadyClock(state, self._read)
        self._log = WriteAheadLog(state)
        self._stop = threading.Event()
        self.faults: Counter[str] = Counter()
        """How often it failed, by reason."""
        self._next_checkpoint = self._next_sweep = self._read().ticks

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Act in a thread of its own meanwhile."""
        thread = threading.Thread(target=self._act, name="upkeep")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _act(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self.run()
        self._log.close()
        self._state.close()

    def run(self) -> None:
        """Do what is due."""
        try:
            self._checkpoint()
            if self._read().ticks >= self._next_sweep:
                self._next_sweep = self._read().ticks + SWEEP_SECONDS
                self._sweep()
        except Unavailable as unavailable:
            self.faults[unavailable.reason] += 1
            logging.getLogger("keybroker").warning(
                json.dumps({"door": "upkeep", "reason": unavailable.reason, "cause": unavailable.hint})
            )

    def _checkpoint(self) -> None:
        self._log.keep_small()
        if self._read().ticks >= self._next_checkpoint:
            self._next_checkpoint = self._read().ticks + CHECKPOINT_SECONDS
            self._state.checkpoint()

    def _sweep(self) -> None:
        now = self._clock.now()
        records = sweep_records(self._state, now - self._keep, now) if self._keep else ()
        for _ in itertools.chain(sweep(self._state, now), records, self._shrunk()):
            self._checkpoint()
            if self._stop.wait(PAUSE_SECONDS):
                return

    def _shrunk(self) -> Iterator[None]:
        if shrink.is_due(self._state):
            yield from shrink.shrink(self._state)
