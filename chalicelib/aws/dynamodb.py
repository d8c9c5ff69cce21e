"""DynamoDB: the three tables, reads and transactions within bounded time, and what its errors mean here.

The items are laid out in docs/data-model.md.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import botocore.exceptions

from chalicelib.aws import clients, round_trip
from chalicelib.aws.botocore_client import THREADS, made
from chalicelib.aws.errors import REFUSED, UNSENT, error_code
from chalicelib.aws.items import Item, held
from chalicelib.aws.round_trip import RequestFailed
from chalicelib.errors import StateUnavailable, StateUncertain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TRANSACTION_SECONDS = 2.0
"""Seconds within which a transaction that conflicts with another is retried."""


class Tables(NamedTuple):
    """A client, and the tables' names: administrators write `control`, the edge `counters`, the broker `ledger`."""

    client: DynamoDBClient
    control: str
    counters: str
    ledger: str


def make_client(region: str, endpoint: str | None = None, session: Any = None) -> DynamoDBClient:  # noqa: ANN401  as botocore makes them
    """Return a client whose calls all end within about a second, and that never retries by itself. session: see `clients.make`."""
    return checked(clients.make("dynamodb", region, endpoint, session))


def checked(client: Any) -> DynamoDBClient:  # noqa: ANN401  as botocore makes them
    """Return a client, each answer of which must be one of DynamoDB's."""
    client.meta.events.register("before-parse.dynamodb", _check_answer)
    return cast("DynamoDBClient", client)


class _NoAnswer(botocore.exceptions.BotoCoreError):
    fmt = "the answer is not one of DynamoDB's"


def _check_answer(response_dict: Mapping[str, Any], **_event: object) -> None:
    # SECURITY: botocore reads an answer that is not JSON, or is cut short, as an empty one: a write that never happened
    # would look done, a blocked target never revoked. And without retries it ignores a wrong checksum
    # (test_a_refusing_store_is_refused).
    body, checksum = response_dict["body"], response_dict["headers"].get("x-amz-crc32")
    try:
        readable = isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        readable = False
    if not readable or (checksum and checksum != str(zlib.crc32(body))):
        raise _NoAnswer


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Turn DynamoDB's errors and time-outs into Unavailable; a failed condition is left to the caller."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        if cancelled(error) or code(error) == "ConditionalCheckFailedException":
            raise
        raise StateUnavailable(aws_code=error_code(error)) from error
    except (RequestFailed, botocore.exceptions.BotoCoreError, TimeoutError) as error:
        raise StateUnavailable(aws_code=error_code(error)) from error


def run_parallel(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at the same time and return their answers in order; raises Unavailable past ROUND_TRIP_SECONDS."""
    ends = time.monotonic() + round_trip.ROUND_TRIP_SECONDS
    with as_unavailable():
        return THREADS.answers(calls, ends)


def code(error: botocore.exceptions.ClientError) -> str:
    """Return an error's code, e.g. `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def cancelled(error: botocore.exceptions.ClientError) -> Sequence[Mapping[str, Any]]:
    """Return why each action of a transaction failed: `Code`, and the `Item` as it was; empty for other errors."""
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", [])
    return reasons if code(error) == "TransactionCanceledException" else []


def transact(tables: Tables, actions: Sequence[Mapping[str, Any]], token: str = "") -> Sequence[Item | None] | None:
    """Write all actions or none; None if they are written.

    Otherwise one value for each action: None if its condition held, else the item as it was ({} if there was none, or it
    was not asked for). A conflict with another transaction is retried within TRANSACTION_SECONDS. token: makes a write
    that is sent again the same write, for ten minutes. Raises Unavailable if nothing is written, StateUncertain if it may
    be.
    """
    ends = time.monotonic() + TRANSACTION_SECONDS
    once: dict[str, Any] = {"ClientRequestToken": token[:36]} if token else {}
    while True:
        try:
            tables.client.transact_write_items(TransactItems=actions, **once)  # type: ignore[arg-type]  # as dicts
        except (botocore.exceptions.BotoCoreError, TimeoutError) as error:
            raise _not_written(error) from error
        except botocore.exceptions.ClientError as error:
            reasons = cancelled(error)
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                return [_there(reason) for reason in reasons]
            conflict = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
            pause = random.uniform(0.01, 0.1)  # noqa: S311  jitter, no secret
            if not conflict or time.monotonic() + pause > ends:
                raise _not_written(error) from error
            time.sleep(pause)
        else:
            return None


def _not_written(error: Exception) -> StateUnavailable:
    """Return the refusal for a write that failed: uncertain, unless DynamoDB refused it or it was never sent."""
    # SECURITY: what may have been written is never said not to be (test_a_lost_commit_is_said_to_be_uncertain).
    refused = isinstance(error, botocore.exceptions.ClientError) and code(error) in REFUSED
    kind = StateUnavailable if refused or isinstance(error, UNSENT) else StateUncertain
    return kind(aws_code=error_code(error))


def _there(reason: Mapping[str, Any]) -> Item | None:
    found: Item = reason.get("Item", {})
    return found if reason.get("Code") == "ConditionalCheckFailed" else None


def read_item(tables: Tables, key: Mapping[str, Any]) -> Item:
    """Return an item of the control table, strongly consistent, {} if there is none; raises Unavailable."""
    with as_unavailable():
        answer = tables.client.get_item(TableName=tables.control, Key=dict(key), ConsistentRead=True)
    return answer.get("Item", {})


def read_batch(tables: Tables, keys: Mapping[str, Iterable[Item]]) -> list[Item]:
    """Read items, at most 100, in one strongly consistent batch; raises Unavailable if any was left unread.

    keys: by table; duplicates are read once. Items that do not exist are left out. What DynamoDB leaves unread is asked
    for once more.
    """
    with as_unavailable():
        return made(tables.client, round_trip.batch(keys))


def read_partition(tables: Tables, table: str, partition: str, beginning: str = "") -> list[Item]:
    """Read every item of a partition, or those whose sort key has a prefix, strongly consistent; raises Unavailable."""
    values: dict[str, Any] = {":pk": {"S": partition}} | ({":sk": {"S": beginning}} if beginning else {})
    query = {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)" if beginning else "pk = :pk",
        "ExpressionAttributeValues": values,
        "ConsistentRead": True,
    }
    return read_query(tables, table, query)


def read_query(tables: Tables, table: str, query: Mapping[str, Any]) -> list[Item]:
    """Read all that a query finds, page by page; raises Unavailable."""
    found: list[Item] = []
    start: dict[str, Any] = {}
    while True:
        with as_unavailable():
            answer = tables.client.query(TableName=table, **query, **start)
        found += held(answer, "Items")
        if "LastEvaluatedKey" not in answer:
            return found
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
