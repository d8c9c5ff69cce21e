"""What is said of many answers' times, from how many were in each bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.edge.response_times import BOUNDS, Responses
from tests.contracts.samples import NOW, one_answer

_EMPTY = (0,) * (len(BOUNDS) + 1)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.05, 0), (0.0501, 1), (120.0, 13), (121.0, 14), (float("nan"), 14)]
)
def test_the_bucket_of_an_answer(seconds: float, bucket: int) -> None:
    """An answer is in the first bucket whose bound it does not pass."""
    minute, hour = one_answer(NOW, seconds, failed=False)
    assert minute.buckets == hour.buckets
    assert minute.buckets.index(1) == bucket


def test_nothing_has_no_quantile() -> None:
    """Without an answer there is no time, and not 0."""
    assert Responses("hour", NOW, 0, _EMPTY).to_json() == {
        "start": NOW,
        "calls": 0,
        "failed": 0,
        "p50_seconds": None,
        "p95_seconds": None,
    }


def test_beyond_the_last_bound() -> None:
    """What took longer than the last bound is said to have taken that long, at least."""
    assert Responses("hour", NOW, 0, (*_EMPTY[:-1], 3)).quantile(0.5) == BOUNDS[-1]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_in_the_bucket_of_the_exact_one(times: list[float], part: float) -> None:
    """The time that is told lies in the bucket of the answer that is the exact quantile."""
    buckets = tuple(map(sum, zip(*(one_answer(NOW, time, failed=False)[0].buckets for time in times), strict=True)))
    told = Responses("minute", NOW, 0, buckets).quantile(part)
    exact = sorted(times)[-int(-part * len(times) // 1) - 1]
    bucket = one_answer(NOW, exact, failed=False)[0].buckets.index(1)
    assert told is not None
    assert (BOUNDS[bucket - 1] if bucket else 0) <= told <= BOUNDS[bucket]
