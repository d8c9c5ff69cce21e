from __future__ import annotations

import pytest

from keybroker import clock
from keybroker.clock import Timestamp


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (Timestamp(160.0, 1060.0), 60.0),
        (Timestamp(160.0, 500.0), 60.0),  # somebody set the wall clock back
        (Timestamp(101.0, 4600.0), 3600.0),  # the machine slept for an hour, and its steady clock with it
        (Timestamp(100.0, 1000.0), 0.0),
    ],
)
def test_the_clock_that_says_more_is_believed(end: Timestamp, wanted: float) -> None:
    assert clock.elapsed(Timestamp(100.0, 1000.0), end) == wanted


def test_time_goes_on() -> None:
    first = clock.now()
    assert clock.elapsed(first, clock.now()) >= 0
