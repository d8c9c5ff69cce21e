"""The adapters of AWS over real tables, made from infra/tables.yaml for tests alone (`make test-aws`).

Tables take long to make on AWS, so these stand; tests have them in turn, and find them empty. They are made once:
`aws cloudformation deploy --template-file infra/tables.yaml --stack-name keybroker-test
--parameter-overrides Prefix=keybroker-test`, and `KEYBROKER_TEST_TABLES=keybroker-test make test-aws` uses them.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.session
from botocore.exceptions import ClientError

from chalicelib.aws.dynamodb import Tables, code, make_client
from tests.contracts import dynamodb_adapters, tables_template
from tests.contracts.adapters import Adapters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX = "KEYBROKER_TEST_TABLES"
"""The environment variable that names the tables to be emptied, by their prefix."""
HELD = 300
"""Seconds after which the tables are free again though a test, killed perhaps, never gave them back."""
WAIT = 60.0
"""Seconds that a test waits for its turn."""
_BATCH = 25
"""Most items that one request deletes."""
_HOLD = {"pk": {"S": "tests#hold"}, "sk": {"S": "-"}}


@contextmanager
def made() -> Iterator[Adapters]:
    """Give the adapters of the tables, empty and one's own for as long as it takes."""
    prefix = os.environ[PREFIX]
    if not re.search(r"(^|-)test(-|$)", prefix):
        raise ValueError(f"{PREFIX} is {prefix!r}: it must have the word test in it, for these tables are emptied")
    janitor, tables = _clients(prefix)
    with _held(janitor):
        _empty(janitor)
        try:
            yield dynamodb_adapters.over(tables)
        finally:
            _empty(janitor)


@functools.cache
def _clients(prefix: str) -> tuple[Tables, Tables]:
    """Return the tables with a patient client, for clearing up, and with the product's own, for testing."""
    session = botocore.session.get_session()
    region = session.get_config_variable("region")
    if not region:
        raise ValueError("no AWS region is set (AWS_DEFAULT_REGION)")
    patient = botocore.config.Config(retries={"total_max_attempts": 10, "mode": "standard"})
    janitor: Any = session.create_client("dynamodb", region, config=patient)
    return tables_template.named(janitor, prefix), tables_template.named(make_client(region), prefix)


@contextmanager
def _held(tables: Tables) -> Iterator[None]:
    """Keep everybody else out, in this process or another: they would empty the tables under our hands."""
    mine, ends = {"S": secrets.token_hex(8)}, time.monotonic() + WAIT
    while not _taken(tables, mine):
        if time.monotonic() > ends:
            raise RuntimeError(f"another run is testing with {tables.counters}; free in {HELD} s at the latest")
        time.sleep(0.2)
    try:
        yield
    finally:
        tables.client.delete_item(
            TableName=tables.counters,
            Key=_HOLD,
            ConditionExpression="attribute_not_exists(pk) OR holder = :mine",
            ExpressionAttributeValues={":mine": mine},
        )


def _taken(tables: Tables, mine: Mapping[str, str]) -> bool:
    now = int(time.time())
    try:
        tables.client.put_item(
            TableName=tables.counters,
            Item={**_HOLD, "holder": mine, "expires_at": {"N": str(now + HELD)}},
            # "OR ours": the client may have sent this before, and missed the answer.
            ConditionExpression="attribute_not_exists(pk) OR expires_at < :now OR holder = :mine",
            ExpressionAttributeValues={":now": {"N": str(now)}, ":mine": mine},
        )
    except ClientError as error:
        if code(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _empty(tables: Tables) -> None:
    """Delete every item but the hold."""
    for name in (tables.control, tables.counters, tables.ledger):
        keys = [key for key in _keys(tables.client, name) if key != _HOLD]
        for first in range(0, len(keys), _BATCH):
            _delete(tables.client, name, keys[first : first + _BATCH])


def _keys(client: DynamoDBClient, table: str) -> Iterator[dict[str, Any]]:
    start: dict[str, Any] = {}
    while True:
        page = client.scan(TableName=table, ProjectionExpression="pk, sk", ConsistentRead=True, **start)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _delete(client: DynamoDBClient, table: str, keys: list[dict[str, Any]]) -> None:
    left: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2):
        left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]
        if not left:
            return
        time.sleep(pause)
    raise RuntimeError(f"{table} could not be emptied")
