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
def test_fifteen_minutes_are_refreshed_in_five(age: float, wanted: Due) -> None:
    """A token of 15 minutes is replaced in its last 5, and waited for in its last 15 seconds."""
    assert due(age, 900, 0) is wanted


def test_programs_refresh_apart() -> None:
    """Programs that started together refresh up to half a minute apart."""
    assert due(628.9, 900, 1) is Due.NOTHING
    assert due(629, 900, 1) is Due.AHEAD


@given(lifetime=lifetimes, spread=parts, ages=st.tuples(parts, parts))
def test_an_older_token_is_never_less_due(lifetime: int, spread: float, ages: tuple[float, float]) -> None:
    """An older token is never less due."""
    younger, older = (due(part * 1.5 * lifetime, lifetime, spread) for part in sorted(ages))
    assert ORDER.index(younger) <= ORDER.index(older)


@given(lifetime=lifetimes, spread=parts)
def test_fresh_is_served_and_expired_is_not(lifetime: int, spread: float) -> None:
    """A fresh token is served, and an expired one never is."""
    assert due(0, lifetime, spread) is Due.NOTHING
    assert due(lifetime - 1, lifetime, spread) is Due.DEAD  # its last second may not be whole


@pytest.mark.parametrize("lifetime", [2, 3, 5])
def test_a_token_of_seconds_is_served(lifetime: int) -> None:
    """A token that lives for seconds is served, too."""
    assert due(0, lifetime, 0) in (Due.NOTHING, Due.AHEAD)
    assert due(lifetime - 1, lifetime, 0) is Due.DEAD


@given(lifetime=lifetimes, spread=parts)
def test_refresh_has_a_fifth_of_a_life(lifetime: int, spread: float) -> None:
    """The next token is fetched a fifth of a lifetime before any caller waits."""
    assert due(0.70 * lifetime, lifetime, spread) is Due.AHEAD
    assert due(0.9 * lifetime, lifetime, spread) is Due.AHEAD
