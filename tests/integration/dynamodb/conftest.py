"""DynamoDB as ministack has it. Only `make test-dynamodb` runs the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.aws.dynamodb import Tables
from tests.integration import ministack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that none has to be remembered."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ministack)


@pytest.fixture(scope="session")
def deployed(endpoint: str) -> Tables:
    """The three tables as CloudFormation makes them of infra/tables.yaml, shared by a whole test process."""
    return ministack.deployed_tables(endpoint)
