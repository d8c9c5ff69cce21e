"""`python -m tests.bench.hot_counters`: one principal's rush by a model of time, before lots and with them.

No emulator throttles an item, so this plays DynamoDB: a key range takes 1,000 writes a second and refuses the others. What a
call asks for is decided by `chalicelib.edge.lots`, as in `chalicelib.aws.slices`.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
from collections.abc import Generator
from dataclasses import dataclass, field

from chalicelib.edge import lots
from chalicelib.edge.lots import Lot

WRITES, BURST = 1_000.0, 20.0
"""What a key range takes a second, and at once."""
REQUEST = (0.004, 0.010)
"""Seconds of a request, at random between these."""
SECONDS = 3
RATES = (500, 1000, 1500, 3000, 4000)
Waiting = Generator[None, None, bool]


@dataclass
class KeyRange:
    """A key range of DynamoDB, empty until it is asked."""

    level: float = BURST
    at: float = 0.0

    def takes(self, now: float) -> bool:
        """Whether it takes one more write."""
        self.level, self.at = min(BURST, self.level + (now - self.at) * WRITES), now
        takes = self.level >= 1
        self.level -= takes
        return takes


@dataclass
class Rush:
    """One principal's counters. split: each item has a key range of its own. by_lots: else a throttled call is refused."""

    split: bool
    by_lots: bool
    chance: random.Random
    now: float = 0.0
    admitted: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"hour": 0, "day": 0})
    kept: dict[tuple[str, int], Lot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shared = KeyRange()
        self._items = {window: KeyRange() if self.split else shared for window in self.counts}
        self._slices = [KeyRange() for _ in range(lots.SLICES)]

    def call(self) -> Waiting:
        """Make one call."""
        waiting = [window for window, there in self._items.items() if not self._add(there, window, 1)]
        yield
        draws, drawn = [self._draw(window) for window in waiting], self.by_lots or not waiting
        while draws and drawn:
            for draw in tuple(draws):
                try:
                    next(draw)
                except StopIteration as done:
                    draws.remove(draw)
                    drawn = drawn and done.value
            yield
        self.admitted += drawn
        return drawn

    def _add(self, there: KeyRange, window: str, count: int) -> bool:
        takes = there.takes(self.now)
        self.counts[window] += count * takes
        return takes

    def _draw(self, window: str) -> Waiting:
        which = self.chance.randrange(lots.SLICES)
        for _ in range(lots.ASKS):
            if not self._slices[which].takes(self.now):
                yield
                which = self.chance.randrange(lots.SLICES)
                continue
            lot = self.kept.get((window, which), Lot(0, 0))
            lot = self.kept[window, which] = lot._replace(asked=lot.asked + 1)
            yield
            if lot.number() is not None:
                return True
            if lot.wants() > 1:
                return (yield from self._fetch(window, which, lot))
        taken = self._add(self._items[window], window, 1)
        yield
        return taken

    def _fetch(self, window: str, which: int, was: Lot) -> Waiting:
        for _ in range(lots.FETCHES):
            taken, first = self._add(self._items[window], window, lots.SIZE), self.counts[window] - lots.SIZE + 1
            yield
            if taken:
                if self._slices[which].takes(self.now) and self.kept[window, which].first == was.first:
                    self.kept[window, which] = Lot(first, 1)
                yield
                return True
        return False


def admitted(rate: int, *, split: bool, by_lots: bool) -> int:
    """Return how many calls are admitted a second, of so many that are made."""
    chance, order = random.Random(1), itertools.count()
    rush, due, at = Rush(split, by_lots, chance), list[tuple[float, int, Waiting]](), 0.0
    while at < SECONDS:
        at += chance.expovariate(rate)
        heapq.heappush(due, (at, next(order), rush.call()))
    while due:
        rush.now, _, call = heapq.heappop(due)
        if next(call, call) is None:
            heapq.heappush(due, (rush.now + chance.uniform(*REQUEST), next(order), call))
    return round(rush.admitted / SECONDS)


def main() -> None:
    """Write the table."""
    sys.stdout.write(
        "| calls a second | before | before, split | with lots | with lots, split |\n|---|---|---|---|---|\n"
    )
    for rate in RATES:
        ways = [(by_lots, split) for by_lots in (False, True) for split in (False, True)]
        cells = [f"{admitted(rate, split=split, by_lots=by_lots):,}" for by_lots, split in ways]
        sys.stdout.write(f"| {rate:,} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
