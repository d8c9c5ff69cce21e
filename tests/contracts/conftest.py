"""Every set of adapters in turn, each over a store of its own that is empty but for its schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts import dynamodb_adapters, sqlite_adapters
from tests.contracts.adapters import Adapters, Make

_SETS: dict[str, Make] = {"dynamodb": dynamodb_adapters.made, "sqlite": sqlite_adapters.made}


@pytest.fixture(params=sorted(_SETS))
def make_adapters(request: pytest.FixtureRequest) -> Make:
    """What makes a set of adapters over an empty store, as often as a test wants one."""
    return _SETS[request.param]


@pytest.fixture
def adapters(make_adapters: Make) -> Iterator[Adapters]:
    """One set of adapters over an empty store."""
    with make_adapters() as one:
        yield one


_SLOW_OVER_MOTO = ("test_a_hundred_candidates", "test_whatever_is_done")
"""Moto copies the whole table for each transaction on it, so what writes much takes minutes there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slowest of the rules over DynamoDB to `make test-all`."""
    for item in items:
        if "[dynamodb" in item.name and item.name.startswith(_SLOW_OVER_MOTO):
            item.add_marker(pytest.mark.slow)
