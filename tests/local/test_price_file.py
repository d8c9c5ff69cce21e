"""The prices that come along, and a file of the user's in their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalicelib.providers.answer_usage import FORMS
from chalicelib.providers.prices import Tokens
from local import price_file
from local.errors import PricesUnusable

A_MILLION = Tokens(1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("provider", "model", "cost"),
    [
        ("openai", "gpt-5-mini", 2_250_000),
        ("openai", "gpt-4o-mini-2024-07-18", 750_000),
        ("anthropic", "claude-sonnet-4-5-20250929", 28_500_000),
        ("gemini", "gemini-2.5-flash", 2_800_000),
    ],
)
def test_models_that_are_known(provider: str, model: str, cost: int) -> None:
    """The prices that come along have the models that people use, at what their providers ask."""
    price = price_file.read(None).find(provider, model)
    assert price is not None
    assert price.cost(A_MILLION) == cost


def test_the_prices_that_come_along() -> None:
    """They say their date, where they are from and under which licence, and each provider in them is one that we read."""
    whole = json.loads(price_file.OURS.read_text())
    assert whole["date"] >= "2026-11-28"
    assert "genai-prices" in whole["source"]
    assert whole["licence"].startswith("The MIT License (MIT)")
    assert set(whole["providers"]) <= FORMS.keys()
    assert sum(map(len, whole["providers"].values())) > 500


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """A file that is named takes the place of the prices that come along."""
    own = tmp_path / "prices.json"
    own.write_text('{"date": "2027-01-01", "providers": {"openai": {"house-model": [[0, 5, 5, 5, 5]]}}}')
    found = price_file.read(own)
    assert found.date == "2027-01-01"
    assert found.find("openai", "house-model")
    assert found.find("openai", "gpt-5-mini") is None


@pytest.mark.parametrize("content", [None, b"\xff", b"{", b"{}"])
def test_a_file_that_is_no_use(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing or malformed is said to be so, with its name."""
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PricesUnusable) as caught:
        price_file.read(path)
    assert str(path) in caught.value.hint


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-image-2"),
        ("openai", "gpt-4o-search-preview"),
        ("openai", "o3-deep-research-2025-06-26"),
        ("openai", "gpt-realtime"),
        ("gemini", "gemini-3-pro-image"),
        ("openrouter", "perplexity/sonar"),
    ],
)
def test_what_is_billed_otherwise_has_no_price(provider: str, model: str) -> None:
    """A model that costs more than its text tokens is not in the prices that come along."""
    assert price_file.read(None).find(provider, model) is None
