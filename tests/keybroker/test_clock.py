from __future__ import annotations

import pytest

from keybroker import clock
from keybroker.clock import Timestamp


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (Timestamp(160.0, 1060.0), 60.0),
        (Timestamp(160.0, 500.0), 60.0),  # the wall clock was set back
        (Timestamp(101.0, 4600.0), 3600.0),  # the machine slept for an hour, and its monotonic clock stopped
        (Timestamp(100.0, 1000.0), 0.0),
    ],
)
def test_the_larger_difference_counts(end: Timestamp, wanted: float) -> None:
    """The clock that says more has the last word."""
    assert clock.elapsed(Timestamp(100.0, 1000.0), end) == wanted


def test_time_passes() -> None:
    """Time does not run backwards."""
    first = clock.now()
    assert clock.elapsed(first, clock.now()) >= 0
