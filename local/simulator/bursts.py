"""Writes of one turn of the event loop, done together at its end while many calls are under way.

To write to a socket wakes its reader. One that finds its next message while it works on the first need not be woken again,
and to wake it costs as much as a tenth of a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

MANY: Final = 8
"""Calls under way from which on writes wait for the end of the turn; with fewer they would only come later."""


class Bursts:
    """Those of one distribution; only for its event loop. under_way: how many calls are."""

    def __init__(self, under_way: Callable[[], int]) -> None:
        self._under_way = under_way
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write soon, or at once; what is written to one transport stays in order as long as all of it comes this way."""
        if not self._waiting:
            if self._under_way() < MANY:
                transport.write(data)
                return
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Write what waits now: before anything is written, or closed, that does not come this way."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
