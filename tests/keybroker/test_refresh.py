from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybroker.refresh import Due, due

ORDER = [Due.NOTHING, Due.AHEAD, Due.NOW, Due.DEAD]
lifetimes = st.integers(30, 3600)
parts = st.floats(0, 1)


@pytest.mark.parametrize(
    ("age", "wanted"),
    [
        (0, Due.NOTHING),
        (598.9, Due.NOTHING),
        (599, Due.AHEAD),
        (883.9, Due.AHEAD),
        (884, Due.NOW),
        (898.9, Due.NOW),
        (899, Due.DEAD),
        (9000, Due.DEAD),
    ],
)
def test_a_token_of_fifteen_minutes_is_replaced_in_its_last_five_and_waited_for_in_its_last_quarter_minute(
    age: float, wanted: Due
) -> None:
    assert due(age, 900, 0) is wanted


def test_programs_that_started_together_ask_up_to_half_a_minute_apart() -> None:
    assert due(628.9, 900, 1) is Due.NOTHING
    assert due(629, 900, 1) is Due.AHEAD


@given(lifetime=lifetimes, spread=parts, ages=st.tuples(parts, parts))
def test_an_older_token_is_never_less_due(lifetime: int, spread: float, ages: tuple[float, float]) -> None:
    younger, older = (due(part * 1.5 * lifetime, lifetime, spread) for part in sorted(ages))
    assert ORDER.index(younger) <= ORDER.index(older)


@given(lifetime=lifetimes, spread=parts)
def test_a_fresh_token_is_served_and_a_dead_one_never_is(lifetime: int, spread: float) -> None:
    assert due(0, lifetime, spread) is Due.NOTHING
    assert due(lifetime - 1, lifetime, spread) is Due.DEAD  # its last second may not be whole


@pytest.mark.parametrize("lifetime", [2, 3, 5])
def test_a_token_of_seconds_is_served_too(lifetime: int) -> None:
    assert due(0, lifetime, 0) in (Due.NOTHING, Due.AHEAD)
    assert due(lifetime - 1, lifetime, 0) is Due.DEAD


@given(lifetime=lifetimes, spread=parts)
def test_the_next_token_is_fetched_ahead_for_a_fifth_of_a_life_before_anybody_waits(
    lifetime: int, spread: float
) -> None:
    assert due(0.70 * lifetime, lifetime, spread) is Due.AHEAD
    assert due(0.9 * lifetime, lifetime, spread) is Due.AHEAD
