"""Calls that come in one turn of the event loop are counted in one round trip to the state, if that is a file of this machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from chalicelib.edge.admission import Begun
from chalicelib.edge.state import Counted, Wanted
from chalicelib.errors import Unavailable
from local.simulator.unsent import NOT_SENT

ReadAndCountAll = Callable[[Sequence[Wanted]], Sequence[Counted]]
"""See `GroupingState.read_and_count_all`."""

MOST: Final = 64
"""Calls in one round trip; each has six targets, and a statement of SQLite's takes some thousand values."""
WORTH_IT: Final = 8
"""Calls under way from which on others may come in the same turn: fewer are decided at once, without waiting for any."""
_LOG: Final = logging.getLogger(__name__)


class CountingTogether:
    """Those of one distribution; only for its event loop."""

    def __init__(self, read_and_count_all: ReadAndCountAll) -> None:
        self._read_and_count_all = read_and_count_all
        self._waiting: list[tuple[Begun, asyncio.Future[None]]] = []

    async def count(self, begun: Begun) -> None:
        """Count a call with those that come meanwhile; `finish` of it then learns what became of it.

        When this returns, it is committed. A call that is broken off meanwhile takes nothing of a quota.
        """
        loop = asyncio.get_running_loop()
        counted: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._count)
        self._waiting.append((begun, counted))
        try:
            await counted
        except asyncio.CancelledError:
            if counted.done() and not counted.cancelled():
                give_back(begun)
            raise

    def _count(self) -> None:
        waiting, self._waiting = self._waiting, []
        left = [one for one in waiting if not one[1].cancelled()]  # nobody asks for those any more
        for start in range(0, len(left), MOST):
            group = left[start : start + MOST]
            try:
                found = self._read_and_count_all([begun.counting.wanted for begun, _ in group])
            except Exception as fault:  # noqa: BLE001  else these calls would wait for ever; each raises it (CallCount)
                found = [fault] * len(group)
            for (begun, counted), one in zip(group, found, strict=True):
                begun.counting.is_counted(one)
                counted.set_result(None)


def give_back(begun: Begun) -> None:
    """Give back what a call took that goes no further, if it is known to have taken anything."""
    try:
        begun.counting.give_back_ahead(NOT_SENT)
    except Unavailable as fault:
        _LOG.warning("a call that was broken off stays counted: %s", fault.reason)
