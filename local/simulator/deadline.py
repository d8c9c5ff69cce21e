"""When a call that was sent on is given up: an origin that is silent for too long, or a body that stands still on its way."""

import asyncio
from typing import Final

from local.simulator.origin_request_event import READ_TIMEOUT

STALL_TIMEOUT: Final = READ_TIMEOUT + 30.0  # seconds without a byte of a body in either direction


class Deadline:
    """The one time-out of a call, within the block of its `asyncio.timeout`.

    Setting a timer is expensive compared with the rest of the work for one chunk, so it is not set for each: it may end
    up to a hundredth earlier.
    """

    __slots__ = ("_is_answered", "_loop", "_seconds", "_stall", "_timeout")

    def __init__(self, timeout: asyncio.Timeout, seconds: float | None) -> None:
        """seconds: for which an origin may be silent; None: for as long as it likes."""
        self._timeout, self._seconds = timeout, seconds
        # A longer silence than CloudFront allows makes this longer as well.
        self._stall = STALL_TIMEOUT + max(0.0, (seconds or 0.0) - READ_TIMEOUT)
        self._loop = asyncio.get_running_loop()
        self._is_answered = False

    def body_moves(self) -> None:
        """Give the next chunk of a body its time: one has moved, or the first is about to."""
        self._end_in(self._stall)

    def is_sent(self) -> None:
        """Note that all of the request is sent. One deadline from here on, however the origin drips its head (or 1xx answers)."""
        if not self._is_answered:
            self._timeout.reschedule(None if self._seconds is None else self._loop.time() + self._seconds)

    def is_answered(self) -> None:
        """Note that the answer's head is complete."""
        self._is_answered = True
        self._timeout.reschedule(None)

    def waits_for_origin(self) -> None:
        """Give the origin the time for the next chunk of its answer."""
        self._end_in(self._seconds)

    def _end_in(self, seconds: float | None) -> None:
        when = self._timeout.when()
        if seconds is None:
            if when is not None:
                self._timeout.reschedule(None)
            return
        now = self._loop.time()
        if when is None or not now + 0.99 * seconds <= when <= now + seconds:
            self._timeout.reschedule(now + seconds)
