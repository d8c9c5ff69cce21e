"""Times things in turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]


def interleaved(
    cases: Mapping[str, Callable[[], object]], rounds: int, *, each: int = 1, clock: Clock = time.process_time
) -> dict[str, float]:
    """Return the median seconds of one call of each case; clock: this process's CPU time unless given.

    In every round each case is called `each` times in a row, and the next round begins with another case. One round
    more goes ahead and is not counted.
    """
    names = list(cases)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            call = cases[name]
            started = clock()
            for _ in range(each):
                call()
            if turn:
                taken[name].append((clock() - started) / each)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
