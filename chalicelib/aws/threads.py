"""Threads that make the requests of one round trip at the same time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any


class _Batch:
    """The calls of one round trip. answers: one for each call. finished: counts them. over: no longer waited for.

    ended: receives None once all have answered, or what the first raised.
    """

    __slots__ = ("answers", "ended", "finished", "over")

    def __init__(self, calls: int) -> None:
        self.answers: list[Any] = [None] * calls
        self.finished = itertools.count(1)
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self.over = False

    def make(self, index: int, call: Callable[[], Any]) -> None:
        """Make one of the calls. The waiting thread is woken once: when the last has answered, or the first has raised."""
        try:
            self.answers[index] = call()
        except BaseException as error:  # noqa: BLE001  it is raised again in the waiting thread
            self.ended.put(error)
        else:
            if next(self.finished) == len(self.answers):  # atomic in CPython: no two threads get the same number
                self.ended.put(None)


class RequestThreads:
    """A pool of at most so many threads, each started when all others are busy.

    It does what a ThreadPoolExecutor does, with one queue for each round trip instead of a lock and a condition for each
    call, and wakes the waiting thread once (docs/performance.md).
    """

    def __init__(self, at_most: int) -> None:
        self._at_most, self._made, self._making = at_most, 0, threading.Lock()
        self._idle = threading.Semaphore(0)
        self._waiting: SimpleQueue[tuple[_Batch, int, Callable[[], Any]]] = SimpleQueue()

    def answers(self, calls: Sequence[Callable[[], Any]], ends: float) -> list[Any]:
        """Return the calls' answers in order; raises what the first one raised, TimeoutError past `ends` (monotonic).

        Calls that have not begun by then are dropped; the result of any other is discarded.
        """
        batch = _Batch(len(calls))
        try:
            for index, call in enumerate(calls):
                self._reserve()
                self._waiting.put((batch, index, call))
            raised = batch.ended.get(timeout=max(0.0, ends - time.monotonic())) if calls else None
        except Empty:
            raise TimeoutError from None
        finally:
            batch.over = True  # a call that is no longer waited for must neither run nor delay others
        if raised is not None:
            raise raised
        return batch.answers

    def _reserve(self) -> None:
        """Reserve an idle thread, or start one; if all threads are busy, the call waits in the queue."""
        if self._idle.acquire(blocking=False):
            return
        with self._making:
            if self._made < self._at_most:
                threading.Thread(target=self._work, name="request", daemon=True).start()
                self._made += 1

    def _work(self) -> None:
        while True:
            batch, index, call = self._waiting.get()
            if not batch.over:
                batch.make(index, call)
            del batch, call  # an idle thread keeps nothing of the last call
            self._idle.release()
