from __future__ import annotations

import re

import pytest

from infra import cost
from tests.running import ROOT


def test_the_page_is_what_is_computed() -> None:
    page = cost.PAGE.read_text(encoding="utf-8")
    assert cost.update(page) == page, "run python -m infra.cost"


def test_page_without_markers_is_rejected() -> None:
    """A page without the markers is not written."""
    with pytest.raises(ValueError, match="the page has no"):
        cost.update("# What it costs\n")


def test_every_price_is_used_and_every_term_has_one() -> None:
    used = {term.price for term in (*cost.TOKEN, *cost.CALL, *cost.FIXED, *cost.WATCHING)}
    storage = {name for name in cost.PRICES if name.startswith("DynamoDB, GB-month")}
    assert used | storage == cost.PRICES.keys()


@pytest.mark.parametrize(("operation", "terms"), [("exchange, grant named", cost.TOKEN), ("admission", cost.CALL)])
def test_the_units_are_those_that_a_test_counts(operation: str, terms: tuple[cost.Term, ...]) -> None:
    model = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {operation} \|[^|]+\| \d+ \| (\d+) \| (\d+) \| ([\d.]+) \|$", model, re.MULTILINE)
    assert row
    units = {term.price: term.count for term in terms if term.price.startswith("DynamoDB")}
    assert units == {"DynamoDB, read unit": int(row[1]), "DynamoDB, write unit": int(row[2])}
    dollars = sum(term.dollars() for term in terms if term.price.startswith("DynamoDB"))
    assert f"{dollars:.2f}" == row[3]


def test_a_million_costs_what_its_terms_do() -> None:
    assert cost.total(cost.TOKEN) == pytest.approx(
        sum(cost.PRICES[one.price][0] * one.count * 1e6 for one in cost.TOKEN)
    )
    assert cost.total([cost.Term("x", "KMS, ECC signature", 2)]) == pytest.approx(30)
