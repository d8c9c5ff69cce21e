"""When a principal's hour is out of its own usual, by vectors."""

from __future__ import annotations

import pytest

from chalicelib.admin import unusual


@pytest.mark.parametrize(
    ("calls", "hours", "days", "is_unusual"),
    [
        (1_000_000, [], [], False),  # it never called: nothing to be compared with, and that is a first use
        (99, [1], [8], False),  # too few to matter
        (100, [1], [8], True),
        (300, [100], [], False),  # three times as much, and not more
        (301, [100], [], True),
        (301, [0, 0, 100, 7], [], True),
        (301, [101], [], False),
        (301, [], [800], True),  # a whole day had 800: some hour had at least a hundred
        (301, [], [808], False),
        (301, [5], [900], False),  # its hours are those of the last days; a busy day weeks ago counts, too
        (100, [0], [3], True),  # it called, though hardly ever
        (100, [0, 0], [0], False),  # refused calls alone are none
    ],
)
def test_an_hour_beside_its_own_past(calls: int, hours: list[int], days: list[int], *, is_unusual: bool) -> None:
    assert unusual.is_unusual(calls, unusual.usual(hours, days)) is is_unusual


def test_a_past_without_calls_is_none() -> None:
    assert unusual.usual([], []) is None
    assert unusual.usual([0, 0], [0]) is None
    assert unusual.usual([], [1]) == 1
