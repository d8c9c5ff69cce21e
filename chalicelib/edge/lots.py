"""Numbers that a counter hands out ahead, since its one item cannot number every call of a rush (docs/adr/0009).

The item numbers every call that it takes in time. A call that it refuses to take gets its number from one of a few
slices, each of which keeps a lot of them. The item counts the numbers in use and the whole of every lot, so a call whose
number is within the limit is within it whichever way it got it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chalicelib.quota import Limit

SLICES = 16
"""How many slices a counter has."""
SIZE = 20
"""How many numbers a lot has."""
SMALLEST_LIMIT = 100 * SLICES * SIZE
"""Limits below it get no lots: what may lie unused in the slices is at most a hundredth of a limit."""
ASKS = 6
"""How often a call asks slices at most: one that takes no more just then, or whose next lot another call is fetching."""
FETCHES = 16
"""How often a call tries to fetch a lot at most: all calls of the rush are at the item, which refuses most of them."""
_SCALE = 10**9
"""A lot is stored as one number: its first, times this, plus how many have asked. No item takes so many writes in a day."""


class Lot(NamedTuple):
    """What a slice keeps of one counter, as the call that asked last has it in its answer.

    first: the lot's first number, 0 if there was no lot yet. asked: how many calls have asked for a number since.
    """

    first: int
    asked: int

    @classmethod
    def read(cls, stored: int) -> Lot:
        """Return what a stored number means."""
        return cls(*divmod(stored, _SCALE))

    def stored(self) -> int:
        """Return the number that is stored. Those of one lot follow one another."""
        return self.first * _SCALE + self.asked

    def number(self) -> int | None:
        """Return the number of the call that asked last; None if the lot had none left, or there was none."""
        return self.first + self.asked - 1 if self.first and 0 < self.asked <= SIZE else None

    def left(self) -> int:
        """Return how many numbers nobody has taken."""
        return max(0, SIZE - self.asked) if self.first else 0

    def wants(self) -> int:
        """Return how many numbers the call that asked last takes at the item: none, one for itself, or a new lot.

        The first one past a lot gets the next, so that one call does and not all; and each SIZE-th after it, should that
        one have died.
        """
        if self.number() is not None:
            return 0
        return SIZE if self.asked % SIZE == 1 % SIZE else 1


def may_draw(limits: Iterable[Limit]) -> bool:
    """Whether calls under these limits may be numbered by lots.

    SECURITY: by the limits alone, so that all edges agree; otherwise a flood of one caller could lock up a small limit in
    slices, a `total` for all the others (test_a_small_limit_gets_no_lots).
    """
    counts = [limit.count for limit in limits]
    return bool(counts) and min(counts) >= SMALLEST_LIMIT


def wanted(asked: Mapping[str, Lot]) -> dict[str, int]:
    """Return how many numbers to add at the item, by counter; those whose lot had a number are left out."""
    return {name: lot.wants() for name, lot in asked.items() if lot.wants()}


def first_of(counted: int, added: int) -> int:
    """Return the first of the numbers that were added. counted: the item's number after it."""
    return counted - added + 1
