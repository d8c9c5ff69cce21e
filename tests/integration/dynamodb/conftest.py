"""DynamoDB as ministack has it. Whatever is in this folder is run by `make test-dynamodb` alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chalicelib.aws.dynamodb import Tables
from tests.integration import ministack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that none has to be remembered."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ministack)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of a ministack that is shared by a whole test process."""
    with ministack.ministack() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb(endpoint: str) -> DynamoDBClient:
    """A client of its DynamoDB."""
    made: DynamoDBClient = ministack.client("dynamodb", endpoint)
    return made


@pytest.fixture
def tables(dynamodb: DynamoDBClient) -> Iterator[Tables]:
    """Three empty tables, a test's own."""
    with ministack.fresh_tables(dynamodb) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(endpoint: str) -> Tables:
    """The three tables as CloudFormation makes them of infra/tables.yaml, shared by a whole test process."""
    return ministack.deployed_tables(endpoint)
