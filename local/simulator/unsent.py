"""Calls that the edge function admitted and that have not reached a provider yet: if they never do, they take no quota.

On AWS nobody could do this: the function's work ends before CloudFront connects to the origin.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Final

from chalicelib.errors import Unavailable

NOT_SENT: Final = "not_sent"
"""The reason under which such a call is counted as refused."""
_LOG: Final = logging.getLogger(__name__)


class Unsent:
    """Those of one distribution, by request id. The function may run in a thread, and longer than its caller waits."""

    def __init__(self, later: Callable[[Callable[[], None]], object] | None = None) -> None:
        """later: has another thread do it, where giving back waits for a network; None: it is done at once."""
        self._later = later
        self._lock = threading.Lock()
        self._give_back: dict[str, Callable[[str], None] | None] = {}

    def begun(self, request_id: str) -> None:
        """Note a call that may be admitted until it is `ended`."""
        self._give_back[request_id] = None

    def admitted(self, request_id: str, give_back: Callable[[str], None]) -> None:
        """Note a call that was counted. give_back: counts it as refused instead, for a reason; raises Unavailable."""
        with self._lock:
            is_open = request_id in self._give_back
            if is_open:
                self._give_back[request_id] = give_back
        if not is_open:  # its caller left meanwhile
            _give_back(request_id, give_back)

    def sent(self, request_id: str) -> None:
        """Note that a provider may have something of the call from here on: it stays counted."""
        self._give_back[request_id] = None

    def ended(self, request_id: str) -> None:
        """Give a call's numbers back if it ended before anything of it was sent."""
        with self._lock:
            give_back = self._give_back.pop(request_id, None)
        if give_back is None:
            return
        if self._later is None:
            _give_back(request_id, give_back)
        else:
            self._later(functools.partial(_give_back, request_id, give_back))


def _give_back(request_id: str, give_back: Callable[[str], None]) -> None:
    try:
        give_back(NOT_SENT)
    except Unavailable as fault:
        _LOG.warning("request %s: nothing was sent, but it stays counted: %s", request_id, fault.reason)
