"""What calls cost, and which prices are none."""

from __future__ import annotations

import json

import pytest

from chalicelib.providers import prices
from chalicelib.providers.prices import Price, Tier, Tokens

PLAIN = Price((Tier(0, 250_000, 2_000_000, 25_000, 250_000),))
TIERED = Price(
    (Tier(0, 3_000_000, 15_000_000, 300_000, 6_000_000), Tier(200_000, 6_000_000, 22_500_000, 600_000, 12_000_000))
)


@pytest.mark.parametrize(
    ("price", "tokens", "cost"),
    [
        (PLAIN, Tokens(), 0),
        (PLAIN, Tokens(1), 1),
        (PLAIN, Tokens(1_000_000, 1_000_000), 2_250_000),
        (PLAIN, Tokens(1_000_000, 0, 1_000_000), 25_000),
        (TIERED, Tokens(200_000, 1_000), 600_000 + 15_000),
        (TIERED, Tokens(200_001, 1_000), 1_200_006 + 22_500),
        (TIERED, Tokens(1_000, 0, 400, 500), 300 + 120 + 3_000),
        (PLAIN, Tokens(10, 0, 99, 99), 1),
    ],
)
def test_cost_in_whole_millionths_rounded_up(price: Price, tokens: Tokens, cost: int) -> None:
    """Input, cached and written input and output have their prices, those of a long input for all of a long call."""
    assert price.cost(tokens) == cost


def test_the_worst_case_costs_no_less_than_any_case() -> None:
    """No way to take as many tokens, or fewer, costs more than the worst case."""
    most = TIERED.most(Tokens(300_000, 2_000))
    for size in (0, 1, 199_999, 200_000, 200_001, 300_000):
        for part in (0, size // 2, size):
            assert TIERED.cost(Tokens(size, 2_000, part, size - part)) <= most


def test_models_are_found_with_and_without_their_date() -> None:
    """A name with a date, or `-latest`, stands for the model unless it has a price of its own."""
    row = [[0, 1, 1, 1, 1]]
    text = {"date": "2026-11-28", "providers": {"openai": {"gpt-5": row, "gpt-5-2025-08-07": [[0, 2, 2, 2, 2]]}}}
    found = prices.parse(json.dumps(text))
    assert found.find("openai", "gpt-5-2025-08-07") == Price((Tier(0, 2, 2, 2, 2),))
    for name in ("gpt-5-2026-01-01", "gpt-5-20260101", "gpt-5-latest", "gpt-5"):
        assert found.find("openai", name) == Price((Tier(0, 1, 1, 1, 1),))
    for provider, name in (("openai", "gpt-5-mini"), ("openai", "gpt"), ("openai", ""), ("anthropic", "gpt-5")):
        assert found.find(provider, name) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"providers": {"openai": {}}}',
        '{"date": "today", "providers": {"openai": {}}}',
        '{"date": "2026-11-28"}',
        '{"date": "2026-11-28", "providers": {"openai": []}}',
        '{"date": "2026-11-28", "providers": {"openai": {"a b": [[0, 1, 1, 1, 1]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": []}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[5, 1, 1, 1, 1]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, 1, 1, 1, 1], [0, 2, 2, 2, 2]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, 1.5, 1, 1, 2]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, -1, 1, 1, 1]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, 5, 1, 1, 4]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, 1, 1, 1]]}}}',
        '{"date": "2026-11-28", "providers": {"openai": {"m": [[0, 1, true, 1, 1]]}}}',
    ],
)
def test_prices_with_a_fault(text: str) -> None:
    """What is not wholly a list of prices is none: a price that is misread would admit what costs more."""
    with pytest.raises(ValueError, match=r"it |openai"):
        prices.parse(text)
