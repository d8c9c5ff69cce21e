"""How limits of usage and spend are written, and what is said of them."""

from __future__ import annotations

import pytest

from chalicelib import budget, rate_limit
from chalicelib.budget import Balance, BudgetLimit

DAY = BudgetLimit("usage", 1_000, "day")
MINUTE = BudgetLimit("usage", 100, "minute", shared=True)
NOON = 1_800_000_000 - 1_800_000_000 % 86400 + 43_200


@pytest.mark.parametrize(
    ("what", "text", "count"),
    [
        ("usage", "200000 tokens/day", 200_000),
        ("usage", "1 tokens/minute", 1),
        ("spend", "20 usd/day", 20_000_000),
        ("spend", "0.5 usd/hour", 500_000),
        ("spend", "0.000001 usd/hour", 1),
    ],
)
def test_limits_are_read_and_written_alike(what: str, text: str, count: int) -> None:
    """A limit is a number of tokens, or dollars with up to six places, in a window; it is written as it is read."""
    found = budget.parse(what, text)
    assert found is not None
    assert (found.amount, str(found)) == (count, text)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("usage", "0 tokens/day"),
        ("usage", "1.5 tokens/day"),
        ("usage", "5/day"),
        ("usage", "5 usd/day"),
        ("usage", "5 tokens/week"),
        ("usage", "1000000000001 tokens/day"),
        ("spend", "0 usd/day"),
        ("spend", "0.0000001 usd/day"),
        ("spend", "1e3 usd/day"),
        ("spend", "-1 usd/day"),
        ("spend", ".5 usd/day"),
        ("spend", "٣ usd/day"),
        ("spend", "5 tokens/day"),
        ("spend", None),
    ],
)
def test_anything_else_is_no_limit(what: str, text: object) -> None:
    """What has two readings, or is nothing or too much, is no limit."""
    assert budget.parse(what, text) is None


def test_a_retry_waits_for_the_window_unless_calls_under_way_stand_in_the_way() -> None:
    """Where it is only reserved, room comes back soon; where it is used, with the window."""
    ask = {"usage": 60}
    assert budget.retry_after([Balance(DAY, 970, 20)], ask, NOON) == 43_200
    assert budget.retry_after([Balance(DAY, 950, 500)], ask, NOON) == budget.SOON
    both = [Balance(DAY, 950, 500), Balance(MINUTE, 90, 0)]
    assert budget.retry_after(both, ask, NOON + 15) == 45
    assert budget.retry_after([Balance(DAY, 0, 0), Balance(MINUTE, 90, 0)], ask, NOON + 15) == 45


def test_what_is_left_is_in_the_headers() -> None:
    """Each limit is an item of its own, with what is left of it."""
    left = budget.allowances([Balance(DAY, 400, 300), Balance(MINUTE, 130, 0)], NOON)
    assert rate_limit.headers(left) == {
        "ratelimit-policy": '"usage-day";q=1000;w=86400, "total-usage-minute";q=100;w=60',
        "ratelimit": '"usage-day";r=600;t=43200, "total-usage-minute";r=0;t=60',
    }
