"""The same rules of `chalicelib.edge.state.EdgeState` over the edge's own client, through a real socket to moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts import dynamodb_adapters
from tests.contracts.adapters import Adapters
from tests.contracts.test_edge_state import (
    TestAnotherTry,
    TestGiveBack,
    TestReadAndCount,
    TestTotal,
)
from tests.faulty_dynamodb import door, tables_behind

__all__ = ["TestAnotherTry", "TestGiveBack", "TestReadAndCount", "TestTotal"]


@pytest.fixture
def adapters() -> Iterator[Adapters]:
    """One set of adapters whose edge has the client of its own."""
    with door() as opened, tables_behind(opened) as tables, dynamodb_adapters.patience():
        in_process = tables._replace(client=dynamodb_adapters.locked_moto())
        yield dynamodb_adapters.over(in_process, opened.edge_client)
