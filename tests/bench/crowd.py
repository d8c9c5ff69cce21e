"""Processes that each do the same thing as often as they can, all at once; and what that took."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

START_SECONDS = 0.02
"""Seconds after which everybody begins who was told to: enough for the last of them to have heard."""
_SPAWN = multiprocessing.get_context("spawn")

Case = Callable[[], bool]
"""Does it once, and says whether it was done; False: it was put off with a 503, or would have been."""
Make = Callable[[int], Mapping[str, Case]]
"""Makes the cases of one process, in that process. Takes the process's number; must be picklable."""


@dataclass(slots=True)
class Burst:
    """What some processes did at once. seconds: of each single one, put off or not. wall: from first to last."""

    seconds: list[float] = field(default_factory=list)
    put_off: int = 0
    wall: float = 0.0

    def rate(self) -> float:
        """Return how many were done a second."""
        return (len(self.seconds) - self.put_off) / self.wall


class Crowd:
    """Processes that wait to be told what to do. Made by `gathered`."""

    def __init__(self, lines: Sequence[Connection]) -> None:
        self._lines = lines

    def burst(self, case: str, processes: int, times: int) -> Burst:
        """Let the first so many processes do a case, so many times each."""
        begin = time.monotonic() + START_SECONDS
        for line in self._lines[:processes]:
            line.send((case, times, begin))
        found, last = Burst(), begin
        for line in self._lines[:processes]:
            seconds, put_off, ended = line.recv()
            found.seconds += seconds
            found.put_off += put_off
            last = max(last, ended)
        found.wall = last - begin
        return found


@contextlib.contextmanager
def gathered(make: Make, size: int) -> Iterator[Crowd]:
    """Start the processes, and end them."""
    lines, processes = [], []
    try:
        for number in range(size):
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_obey, args=(make, number, theirs), daemon=True)
            process.start()
            theirs.close()
            lines.append(ours)
            processes.append(process)
        for line in lines:
            line.recv()
        yield Crowd(lines)
    finally:
        for line in lines:
            line.close()
        for process in processes:
            process.join(5)


def _obey(make: Make, number: int, line: Connection) -> None:
    cases = make(number)
    line.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            case, times, begin = line.recv()
            line.send(_do(cases[case], times, begin))


def _do(case: Case, times: int, begin: float) -> tuple[list[float], int, float]:
    seconds, put_off = [], 0
    while time.monotonic() < begin:
        pass
    before = time.monotonic()
    for _ in range(times):
        put_off += not case()
        after = time.monotonic()
        seconds.append(after - before)
        before = after
    return seconds, put_off, before
