"""Threads that make the requests of one round trip at the same time."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, Final

from chalicelib.aws.round_trip import UNDO_SECONDS

Undo = Callable[[], Any]
"""Takes back what a call did."""
_NO_UNDO: Final[Mapping[int, Undo]] = MappingProxyType({})
_UNANSWERED: Final = object()


class _Batch:
    """The calls of one round trip. answers: one for each call. finished: counts them. over: no longer waited for.

    raised: what the calls raised, the first one first. ended: receives something once all have ended; where there is
    nothing to undo, once the first has raised.
    undo: by call. It is taken out before it is made, so that nothing is undone twice.
    """

    __slots__ = ("answers", "ended", "finished", "over", "raised", "undo", "waits")

    def __init__(self, calls: int, undo: Mapping[int, Undo]) -> None:
        self.answers: list[Any] = [_UNANSWERED] * calls
        self.finished = itertools.count(1)
        self.ended: SimpleQueue[None] = SimpleQueue()
        self.raised: list[BaseException] = []
        self.undo, self.waits = dict(undo), bool(undo)
        self.over = False

    def make(self, index: int, call: Callable[[], Any]) -> None:
        """Make one of the calls; the waiting thread is woken once. A call that is answered too late is undone at once."""
        try:
            self.answers[index] = call()
            if self.over and (undo := self.undo.pop(index, None)):
                undo()
        except BaseException as error:  # noqa: BLE001  it is raised again in the waiting thread
            self.raised.append(error)
            if not self.waits:
                self.ended.put(None)
                return
        if next(self.finished) == len(self.answers):  # atomic in CPython: no two threads get the same number
            self.ended.put(None)

    def answered(self) -> list[Undo]:
        """Take out what undoes the calls that were answered. `over` must be set: the others are then undone in `make`."""
        known = [index for index, answer in enumerate(self.answers) if answer is not _UNANSWERED]
        # SECURITY: pop is atomic in CPython. An undo made twice would give a number out twice
        # (test_nothing_is_undone_twice).
        taken = [self.undo.pop(index, None) for index in known]
        return [undo for undo in taken if undo]


class RequestThreads:
    """A pool of at most so many threads, each started when all others are busy.

    It does what a ThreadPoolExecutor does, with one queue for each round trip instead of a lock and a condition for each
    call, and wakes the waiting thread once (docs/performance.md).
    """

    def __init__(self, at_most: int) -> None:
        self._at_most, self._made, self._making = at_most, 0, threading.Lock()
        self._idle = threading.Semaphore(0)
        self._waiting: SimpleQueue[tuple[_Batch, int, Callable[[], Any]]] = SimpleQueue()

    def answers(
        self,
        calls: Sequence[Callable[[], Any]],
        ends: float,
        undo: Mapping[int, Undo] = _NO_UNDO,
    ) -> list[Any]:
        """Return the calls' answers in order; raises what the first one raised, TimeoutError past `ends` (monotonic).

        Calls that have not begun by then are dropped; the result of any other is discarded.
        undo: by a call's index, what takes back what it did. If any call fails, all others are waited for, and those that
        were answered are taken back; UNDO_SECONDS past `ends` nobody waits for that any more. An `undo` raises nothing.
        """
        batch = _Batch(len(calls), undo)
        try:
            self._send(batch, calls)
            if calls:
                batch.ended.get(timeout=max(0.0, ends - time.monotonic()))
            fault = batch.raised[0] if batch.raised else None
        except Empty:
            fault = batch.raised[0] if batch.raised else TimeoutError()
        finally:
            batch.over = True  # a call that is no longer waited for must neither run nor delay others
        if fault is None:
            return batch.answers
        if undo:
            self._take_back(batch.answered(), ends + UNDO_SECONDS)
        raise fault

    def _take_back(self, undo: Sequence[Undo], ends: float) -> None:
        """Undo calls, and wait for that until `ends`; the threads go on with it, for it must not be dropped."""
        batch = _Batch(len(undo), _NO_UNDO)
        self._send(batch, undo)
        if undo:
            with contextlib.suppress(Empty):
                batch.ended.get(timeout=max(0.0, ends - time.monotonic()))

    def _send(self, batch: _Batch, calls: Sequence[Callable[[], Any]]) -> None:
        for index, call in enumerate(calls):
            self._reserve()
            self._waiting.put((batch, index, call))

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
