"""When a call that was sent on is given up: an origin that is silent for too long, or a body that stands still on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from local.simulator.origin_request_event import READ_TIMEOUT

STALL_TIMEOUT: Final = READ_TIMEOUT + 30.0  # seconds without a byte of a body in either direction


class Deadline:
    """The one time-out of a call: a `with` block of the task that serves it, which raises TimeoutError once it is over.

    Where no task serves it, `late` is called instead, unless it was closed before.

    Setting a timer is expensive compared with the rest of the work for a call, so there is one that finds out, when it
    fires, whether the deadline has moved; `asyncio.timeout` would set one each time.
    """

    __slots__ = (
        "_cancelling",
        "_is_answered",
        "_is_over",
        "_late",
        "_loop",
        "_seconds",
        "_task",
        "_timer",
        "_when",
    )
    _task: asyncio.Task[object]

    def __init__(self, seconds: float | None, late: Callable[[], None] | None = None) -> None:
        """seconds: for which an origin may be silent; None: for as long as it likes. Call it in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.begin(seconds, late)

    def begin(self, seconds: float | None, late: Callable[[], None] | None) -> None:
        """Begin with another call, once the one before has ended; see the constructor."""
        self._seconds, self._late = seconds, late
        self._is_answered = self._is_over = False
        self._when: float | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline belongs to a task")
        self._task, self._cancelling = task, task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, _w: TracebackType | None
    ) -> None:
        was_over = self._is_over
        self.close()
        # As in asyncio.timeout: what others have cancelled at the same time stays cancelled.
        if was_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from raised

    def rest(self) -> None:
        """End nothing until `begin`. A timer stays, and finds that out; to set one for each call costs more."""
        self._is_over = True
        self._late = None  # or the call and this would hold each other, and wait for the garbage collector

    def close(self) -> None:
        """End nothing any more."""
        self.rest()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def body_moves(self) -> None:
        """Give the next chunk of a body its time: one has moved, or the first is about to."""
        # A longer silence than CloudFront allows makes this longer as well.
        self._end_in(STALL_TIMEOUT + max(0.0, (self._seconds or 0.0) - READ_TIMEOUT))

    def is_sent(self) -> None:
        """Note that all of the request is sent. One deadline from here on, however the origin drips its head (or 1xx answers)."""
        if not self._is_answered:
            self._end_in(self._seconds)

    def is_answered(self) -> None:
        """Note that the answer's head is complete."""
        self._is_answered = True
        self._when = None

    def waits_for_origin(self) -> None:
        """Give the origin the time for the next chunk of its answer."""
        self._end_in(self._seconds)

    def _end_in(self, seconds: float | None) -> None:
        if seconds is None or self._is_over:
            self._when = None
            return
        when = self._when = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._is_due)

    def _is_due(self) -> None:
        self._timer = None
        if self._when is None or self._is_over:
            return
        if self._loop.time() < self._when:
            self._timer = self._loop.call_at(self._when, self._is_due)
            return
        self._is_over = True
        if self._late is None:
            self._task.cancel()
        else:
            self._late()
