"""Revocations raced by callers in three processes over the three tables: the rules of tests/races/test_revocation.py.

Once with botocore at the edge, and once with the edge's own client, one for each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib.revocation import SCOPES
from tests.integration import ministack
from tests.races.course import ROUNDS, Course
from tests.races.dynamo_store import DynamoStore
from tests.races.processes import course_over
from tests.races.summary import NUMBERS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="module", params=["botocore", "edge client"])
def client(request: pytest.FixtureRequest) -> str:
    """Which client the edge has."""
    return str(request.param)


@pytest.fixture(scope="module")
def course(
    client: str, endpoint: str, dynamodb: DynamoDBClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Course]:
    """Three processes over three tables."""
    with ministack.fresh_tables(dynamodb) as tables:
        store = replace(DynamoStore.over(endpoint, tables, edge_client=client == "edge client"), patience=5.0)
        with course_over(store, tmp_path_factory.mktemp("races")) as made:
            yield made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scope", SCOPES)
def test_nothing_revoked_is_admitted(
    course: Course, client: str, scope: str, record_property: Callable[[str, object], None]
) -> None:
    """Once a revocation is acknowledged, nothing revoked is admitted, and its earlier tokens never are again."""
    tally = course.run(scope, max(3, ROUNDS // 10))
    record_property(NUMBERS, f"DynamoDB by {client}, 3 processes: {tally.line()}")
    assert tally.wrongs() == {}
