"""Whether and when a request is sent again: pauses that grow, a Retry-After, and one deadline over all of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

REQUESTS = 4
"""Requests at most, the first one included: a 429 and two 500s in a row are survived."""
PAUSE = (0.2, 0.8)
"""Seconds before the second request, at least and at most; each further pause is twice as long."""


class Tries:
    """The requests of one errand.

    seconds: until its deadline; no request begins after it, and no Retry-After that reaches beyond it is waited for.
    now, sleep: the monotonic clock and how to wait, for tests.
    """

    def __init__(
        self,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now, self._sleep = now, sleep
        self._deadline = now() + seconds
        self._sent = 0
        self._unanswered = 0

    def wait(self, retry_after: int | None = None, *, answered: bool = True) -> bool:
        """Wait until the next request is due, after one that failed; return False at once if there is to be none.

        retry_after: seconds that the response asked for. answered: whether there was a response; after two requests in
        a row without one there is no third, since what is not there is told soon.
        """
        self._sent += 1
        self._unanswered = 0 if answered else self._unanswered + 1
        if self._sent >= REQUESTS or self._unanswered > 1:
            return False
        jitter = random.uniform(*PAUSE)  # noqa: S311  no secret
        pause = retry_after + jitter if retry_after else jitter * 2 ** (self._sent - 1)
        if self._now() + pause >= self._deadline:
            return False
        self._sleep(pause)
        return True

    def left(self, most: float) -> float:
        """Return the seconds that the next request may take: until the deadline, and `most` at most."""
        return min(most, max(self._deadline - self._now(), PAUSE[0]))
