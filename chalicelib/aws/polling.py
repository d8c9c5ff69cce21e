"""Waits for several generators at once, each of which yields what it waits for."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from chalicelib.aws.connection import Waiting


class Polling:
    """running: by the number under which it was added. answers: what came of those that have ended; raised: the others."""

    def __init__(self) -> None:
        self.running: dict[int, Waiting[Any]] = {}
        self.answers: dict[int, Any] = {}
        self.raised: list[Exception] = []
        self._ready: list[int] = []
        self._waiting: dict[int, int] = {}
        self._poll = select.poll()

    def add(self, number: int, task: Waiting[Any]) -> None:
        """Run one more."""
        self.running[number] = task
        self._ready.append(number)

    def run(self, ends: float, is_over: Callable[[], bool]) -> None:
        """Go on until all have ended, or it is over, or the time has come (monotonic). What still runs is kept."""
        while True:
            while self._ready:
                self._step(self._ready.pop(0))
            if is_over() and not self._ready:
                return
            if self._ready:
                continue
            left = ends - time.monotonic()
            if not self.running or left <= 0:
                return
            for descriptor, _ in self._poll.poll(left * 1000):
                self._poll.unregister(descriptor)
                self._ready.append(self._waiting.pop(descriptor))

    def close(self) -> None:
        """End what still runs."""
        for task in self.running.values():
            task.close()
        self.running.clear()

    def _step(self, number: int) -> None:
        try:
            descriptor, event = next(self.running[number])
        except StopIteration as done:
            del self.running[number]
            self.answers[number] = done.value
        except Exception as error:  # noqa: BLE001  it is raised again by who reads it
            del self.running[number]
            self.raised.append(error)
        else:
            self._waiting[descriptor] = number
            self._poll.register(descriptor, event)
