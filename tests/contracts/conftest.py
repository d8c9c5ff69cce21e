"""Every set of adapters in turn, each over a store of its own that is empty but for its schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.contracts import aws_tables, dynamodb_adapters, sqlite_adapters
from tests.contracts.adapters import Adapters, Make
from tests.integration import ministack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SETS: dict[str, Make] = {"dynamodb": dynamodb_adapters.made, "sqlite": sqlite_adapters.made}


_NAMES = [*sorted(_SETS), pytest.param("ministack", marks=pytest.mark.ministack)]
if aws_tables.PREFIX in os.environ:  # alone, since moto stands in for all of AWS in the whole process
    _SETS, _NAMES = {"aws": aws_tables.made}, ["aws"]


@pytest.fixture(scope="session")
def over_ministack(dynamodb: DynamoDBClient) -> Make:
    """What makes a set of adapters over a ministack."""

    @contextmanager
    def made() -> Iterator[Adapters]:
        with ministack.fresh_tables(dynamodb) as tables, dynamodb_adapters.patience():
            yield dynamodb_adapters.over(tables)

    return made


@pytest.fixture(params=_NAMES)
def make_adapters(request: pytest.FixtureRequest) -> Make:
    """What makes a set of adapters over an empty store, as often as a test wants one."""
    if request.param == "ministack":
        made: Make = request.getfixturevalue("over_ministack")
        return made
    return _SETS[request.param]


@pytest.fixture
def adapters(make_adapters: Make) -> Iterator[Adapters]:
    """One set of adapters over an empty store."""
    with make_adapters() as one:
        yield one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the rules over moto to `make test-slow`: it copies the whole table for each transaction on it."""
    for item in items:
        if "[dynamodb" in item.name:
            item.add_marker(pytest.mark.slow)
