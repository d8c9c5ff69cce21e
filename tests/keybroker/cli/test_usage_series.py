"""Sums of one window after the other: by which window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admin.totals import points
from chalicelib.quota import WINDOWS
from keybroker.cli import usage_series
from keybroker.cli.usage_series import shortest_window


@pytest.mark.parametrize(
    ("reach", "window"),
    [
        (0, "minute"),
        (59 * 60, "minute"),
        (59 * 60 + 1, "hour"),
        (3600, "hour"),
        (71 * 3600, "hour"),
        (71 * 3600 + 1, "day"),
        (34 * 86400, "day"),
        (34 * 86400 + 1, None),
    ],
)
def test_the_shortest_window_that_reaches(reach: int, window: str | None) -> None:
    """A series is by the shortest window of which it has few enough."""
    assert shortest_window(reach) == window


@given(until=st.integers(1_795_500_000, 1_895_500_000), reach=st.integers(0, 34 * 86400))
def test_the_broker_answers_it(until: int, reach: int) -> None:
    """Whenever a series begins, the broker answers as many windows as the chosen one takes."""
    window = shortest_window(reach)
    assert window is not None
    found = points(window, until - reach, until)
    assert found[0] <= until - reach
    assert found[-1] <= until < found[-1] + WINDOWS[window]


def test_windows_are_as_long_as_the_broker_s() -> None:
    """Windows have the same names and lengths here as at the broker."""
    assert usage_series.SECONDS == WINDOWS
