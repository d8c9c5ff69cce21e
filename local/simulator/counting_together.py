"""Calls that come in one turn of the event loop are counted in one round trip to the state, if that is a file of this machine."""

from __future__ import annotations

import asyncio
import functools
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
_SEVERAL: Final = 4
"""Calls that came in one turn, after which others are expected in the next."""
_LOG: Final = logging.getLogger(__name__)


class Waiting:
    """A call that waits to be counted. `leave()` it if it is broken off before its `done` has gone on with it."""

    __slots__ = ("_has_left", "begun", "done", "is_counted")

    def __init__(self, begun: Begun, done: Callable[[], object]) -> None:
        self.begun, self.done = begun, done
        self._has_left = self.is_counted = False

    @property
    def has_left(self) -> bool:
        """Whether nobody asks for it any more."""
        return self._has_left

    def leave(self) -> None:
        """Take nothing of a quota."""
        self._has_left = True
        if self.is_counted:
            give_back(self.begun)


class _Awaited(Waiting):
    """One that a task waits for."""

    __slots__ = ("_counted",)

    def __init__(self, begun: Begun, counted: asyncio.Future[None]) -> None:
        super().__init__(begun, functools.partial(counted.set_result, None))
        self._counted = counted

    @property
    def has_left(self) -> bool:
        """Whether its task was cancelled, which it does not know yet."""
        return self._counted.cancelled()


class CountingTogether:
    """Those of one distribution; only for its event loop."""

    def __init__(self, read_and_count_all: ReadAndCountAll) -> None:
        self._read_and_count_all = read_and_count_all
        self._waiting: list[Waiting] = []
        self._came = 0

    def is_worth_it(self, under_way: int) -> bool:
        """Whether others may come in the same turn: many are under way, or several came last time. under_way: calls."""
        return under_way >= WORTH_IT or self._came >= _SEVERAL

    def add(self, begun: Begun, done: Callable[[], None]) -> Waiting:
        """Count a call with those that come meanwhile; `finish` of it then learns what became of it.

        done: called once it is committed; it raises nothing.
        """
        waiting = Waiting(begun, done)
        self._add(waiting)
        return waiting

    async def count(self, begun: Begun) -> None:
        """Do the same, and return when it is committed. A call that is broken off meanwhile takes nothing of a quota."""
        counted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Awaited(begun, counted)
        self._add(waiting)
        try:
            await counted
        except asyncio.CancelledError:
            waiting.leave()
            raise

    def _add(self, waiting: Waiting) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._count)
        self._waiting.append(waiting)

    def _count(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._came = len(waiting)
        left = [one for one in waiting if not one.has_left]  # nobody asks for the others any more
        for start in range(0, len(left), MOST):
            group = left[start : start + MOST]
            try:
                found = self._read_and_count_all([one.begun.counting.wanted for one in group])
            except Exception as fault:  # noqa: BLE001  else these calls would wait for ever; each raises it (CallCount)
                found = [fault] * len(group)
            for one, counted in zip(group, found, strict=True):
                one.begun.counting.is_counted(counted)
                one.is_counted = True
            for one in group:
                if not one.has_left:  # what one before it did may have broken it off
                    one.done()


def give_back(begun: Begun) -> None:
    """Give back what a call took that goes no further, if it is known to have taken anything."""
    try:
        begun.counting.give_back_ahead(NOT_SENT)
    except Unavailable as fault:
        _LOG.warning("a call that was broken off stays counted: %s", fault.reason)
