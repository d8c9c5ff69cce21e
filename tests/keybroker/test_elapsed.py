from __future__ import annotations

import pytest

from keybroker import elapsed
from keybroker.elapsed import Instant


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (Instant(160.0, 1060.0), 60.0),
        (Instant(160.0, 500.0), 60.0),  # somebody set the wall clock back
        (Instant(101.0, 4600.0), 3600.0),  # the machine slept for an hour, and its steady clock with it
        (Instant(100.0, 1000.0), 0.0),
    ],
)
def test_the_clock_that_says_more_is_believed(end: Instant, wanted: float) -> None:
    assert elapsed.seconds(Instant(100.0, 1000.0), end) == wanted


def test_time_goes_on() -> None:
    first = elapsed.now()
    assert elapsed.seconds(first, elapsed.now()) >= 0
