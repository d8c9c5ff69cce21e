"""The same rules of `chalicelib.edge.state.EdgeState` over the edge's own client, through real sockets to moto and ministack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
from tests.integration import ministack

pytestmark = pytest.mark.slow  # as all that goes over moto
if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["TestAnotherTry", "TestGiveBack", "TestReadAndCount", "TestTotal"]


@pytest.fixture(params=["moto", pytest.param("ministack", marks=pytest.mark.ministack)])
def adapters(request: pytest.FixtureRequest) -> Iterator[Adapters]:
    """One set of adapters whose edge has the client of its own."""
    with _over_moto() if request.param == "moto" else _over_ministack(request) as made, dynamodb_adapters.patience():
        yield made


@contextlib.contextmanager
def _over_moto() -> Iterator[Adapters]:
    with door() as opened, tables_behind(opened) as tables:
        in_process = tables._replace(client=dynamodb_adapters.locked_moto())
        yield dynamodb_adapters.over(in_process, opened.edge_client)


@contextlib.contextmanager
def _over_ministack(request: pytest.FixtureRequest) -> Iterator[Adapters]:
    dynamodb: DynamoDBClient = request.getfixturevalue("dynamodb")
    own = dynamodb_adapters.edge_client_at(request.getfixturevalue("endpoint"))
    with ministack.fresh_tables(dynamodb) as tables, contextlib.closing(own):
        yield dynamodb_adapters.over(tables, own)
