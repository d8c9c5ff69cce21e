"""Calls that the edge function admitted and that have not reached a provider yet: if they never do, they take no quota.

On AWS nobody could do this: the function's work ends before CloudFront connects to the origin.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Final

from chalicelib.edge.call import Admitted
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
        self._calls: dict[str, Admitted | None] = {}

    def begun(self, request_id: str) -> None:
        """Note a call that may be admitted until it is `ended`."""
        self._calls[request_id] = None

    def admitted(self, request_id: str, admitted: Admitted) -> None:
        """Note a call that was admitted, and so counted."""
        with self._lock:
            is_open = request_id in self._calls
            if is_open:
                self._calls[request_id] = admitted
        if not is_open:  # its caller left meanwhile
            _give_back(request_id, admitted)

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended."""
        return len(self._calls)

    def admission(self, request_id: str) -> Admitted | None:
        """Return what a call was admitted with, until it is `sent`; None if nobody told."""
        return self._calls.get(request_id)

    def sent(self, request_id: str) -> None:
        """Note that a provider may have something of the call from here on: it stays counted."""
        self._calls[request_id] = None

    def ended(self, request_id: str) -> None:
        """Give a call's numbers back if it ended before anything of it was sent."""
        with self._lock:
            admitted = self._calls.pop(request_id, None)
        if admitted is None:
            return
        if self._later is None:
            _give_back(request_id, admitted)
        else:
            self._later(functools.partial(_give_back, request_id, admitted))


def _give_back(request_id: str, admitted: Admitted) -> None:
    try:
        admitted.give_back(NOT_SENT)
    except Unavailable as fault:
        _LOG.warning("request %s: nothing was sent, but it stays counted: %s", request_id, fault.reason)
