"""Threads that make the calls of a wave side by side."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any


class _Batch:
    """Calls that belong together. answers: each one's. finished: counts them.

    ended: None once all have answered, or what one raised.
    """

    __slots__ = ("answers", "ended", "finished", "over")

    def __init__(self, calls: int) -> None:
        self.answers: list[Any] = [None] * calls
        self.finished = itertools.count(1)
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self.over = False

    def make(self, place: int, call: Callable[[], Any]) -> None:
        """Make one of the calls. Whoever waits is woken once: when the last has answered, or the first has raised."""
        try:
            self.answers[place] = call()
        except BaseException as error:  # noqa: BLE001  it is raised again where the wave is waited for
            self.ended.put(error)
        else:
            if next(self.finished) == len(self.answers):  # one step, for the interpreter: no two threads get one number
                self.ended.put(None)


class RequestThreads:
    """At most so many threads, each made when all others are busy.

    It does what futures of a ThreadPoolExecutor would, with one queue for a wave in place of a lock and a condition for
    each call, and wakes whoever waits once (docs/performance.md).
    """

    def __init__(self, at_most: int) -> None:
        self._at_most, self._made, self._making = at_most, 0, threading.Lock()
        self._idle = threading.Semaphore(0)
        self._waiting: SimpleQueue[tuple[_Batch, int, Callable[[], Any]]] = SimpleQueue()

    def answers(self, calls: Sequence[Callable[[], Any]], ends: float) -> list[Any]:
        """Return what each call answered; raises what the first raised that did, TimeoutError past `ends` (monotonic).

        What has not begun by then is not made any more; what has runs on, and nobody hears of it.
        """
        batch = _Batch(len(calls))
        try:
            for place, call in enumerate(calls):
                self._have_one_more()
                self._waiting.put((batch, place, call))
            raised = batch.ended.get(timeout=max(0.0, ends - time.monotonic())) if calls else None
        except Empty:
            raise TimeoutError from None
        finally:
            batch.over = True  # what nobody waits for any more must neither count nor keep the others waiting
        if raised is not None:
            raise raised
        return batch.answers

    def _have_one_more(self) -> None:
        """Take an idle thread, or make one; with as many as there may be, the call waits for one."""
        if self._idle.acquire(blocking=False):
            return
        with self._making:
            if self._made < self._at_most:
                threading.Thread(target=self._work, name="wave", daemon=True).start()
                self._made += 1

    def _work(self) -> None:
        while True:
            batch, place, call = self._waiting.get()
            if not batch.over:
                batch.make(place, call)
            del batch, call  # an idle thread holds nothing of the last call
            self._idle.release()
