"""An event loop with a fast clock, so that minutes of waiting take a second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

SPEED = 100.0


class _HurriedSelector(selectors.DefaultSelector):
    """Waits for as many real seconds as the loop's clock needs for what it was asked to wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        return super().select(None if timeout is None else timeout / SPEED)


class _HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_HurriedSelector())

    def time(self) -> float:
        """Return the fast_clock clock's seconds."""
        return super().time() * SPEED


_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run as `asyncio.run` does, `SPEED` times as fast."""
    with asyncio.Runner(loop_factory=_HurriedLoop) as runner:
        return runner.run(main)
