from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib import duration
from keybroker import duration as of_the_client

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "61 s"),
        (119, "119 s"),
        (120, "2 min"),
        (149, "2 min"),
        (150, "3 min"),
        (900, "15 min"),
        (3500, "58 min"),
        (3600, "1 h"),
        (5400, "90 min"),
        (7200, "2 h"),
        (57600, "16 h"),
        (76249, "21 h"),
        (86399, "24 h"),
        (86400, "1 d"),
        (90000, "25 h"),
        (172800, "2 d"),
        (8640000, "100 d"),
    ],
)
def test_words(seconds: int, text: str) -> None:
    """A length of time is said in the unit in which a person thinks of it."""
    assert duration.words(seconds) == text


@given(st.integers(0, 2**53))
@example(119)
@example(7199)
def test_words_are_near(seconds: int) -> None:
    """What is said is off by a quarter at most, and the client's words are the same."""
    number, unit = duration.words(seconds).split()
    assert abs(int(number) * _SECONDS[unit] - seconds) <= seconds / 4
    assert of_the_client.words(seconds) == duration.words(seconds)
