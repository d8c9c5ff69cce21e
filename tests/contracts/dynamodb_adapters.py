"""The adapters of AWS, over moto's DynamoDB in this process, behind one lock: without it moto loses updates."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from chalicelib.aws import clients, endpoints, round_trip, slice_items
from chalicelib.aws.answer_usage import DynamoAnswerUsage
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.budgets import DynamoBudgets
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.counter_items import items
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.edge_client import EdgeClient
from chalicelib.aws.edge_state import DynamoEdgeState
from chalicelib.aws.items import Item
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.mint_notes import DynamoMintNotes
from chalicelib.aws.policies import DynamoPolicies
from chalicelib.aws.refused_calls import DynamoRefusedCalls
from chalicelib.aws.response_times import DynamoResponseTimes
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.aws.round_trip import AwsClient
from chalicelib.aws.running_state import DynamoRunningState
from chalicelib.aws.sigv4 import Credentials
from chalicelib.aws.usage import DynamoUsage
from chalicelib.quota import Counter, counters
from tests import moto_dynamodb
from tests.contracts.adapters import Adapters
from tests.contracts.tables_template import create_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AHEAD = 1_803_500_000.0
"""A clock that is some weeks ahead of the times of the tests, so that their months are looked at."""
_LOCK = threading.RLock()
_NAMES = itertools.count(1)
_WRITES = (
    "update_item",
    "put_item",
    "delete_item",
    "transact_write_items",
    "get_item",
    "query",
    "scan",
    "create_table",
)


class Control:
    """What administrators write, all parts of it."""

    def __init__(self, tables: Tables) -> None:
        policies, control, revocations = DynamoPolicies(tables), DynamoControl(tables), DynamoRevocations(tables)
        self.current, self.apply = policies.current, policies.apply
        self.versions, self.version = policies.versions, policies.version
        self.revoke, self.restore, self.exists = revocations.revoke, revocations.restore, revocations.exists
        self.revocation_state = revocations.revocation_state
        self.revocations, self.revocation = revocations.revocations, revocations.revocation
        self.pin, self.keys, self.set_key = control.pin, control.keys, control.set_key
        self.known_keys = control.known_keys
        self.key_info, self.change_key = control.key_info, control.change_key
        self.list_signing_keys = control.list_signing_keys
        self.signing_key_list, self.change_signing_keys = control.signing_key_list, control.change_signing_keys


@functools.cache
def locked_moto() -> DynamoDBClient:
    """Start moto for the rest of this process, one call at a time, and return a client of it."""
    moto_dynamodb.mend()
    for name in _WRITES:
        setattr(DynamoDBBackend, name, _behind_the_lock(getattr(DynamoDBBackend, name)))
    mock_aws().start()
    client = make_client("us-east-1")
    client.list_tables()  # the first answer takes moto about a second, which is all the time that a round trip has
    return client


@contextmanager
def patience(seconds: float = 30.0) -> Iterator[None]:
    """Give round trips more time than the product does, on a machine that is busy with its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(round_trip, "ROUND_TRIP_SECONDS", seconds)
        patch.setattr(clients, "CALL_SECONDS", seconds)  # of what botocore's clients do that are made within
        yield


@contextmanager
def made() -> Iterator[Adapters]:
    """Make the tables with their adapters, and remove them: moto copies a table for each transaction on it."""
    tables = create_tables(locked_moto(), f"kb{next(_NAMES)}")
    try:
        with patience():
            yield over(tables)
    finally:
        for name in (tables.control, tables.counters, tables.ledger):
            tables.client.delete_table(TableName=name)


def over(tables: Tables, edge_client: AwsClient | None = None) -> Adapters:
    """Make the adapters of tables that exist. edge_client: of the edge; botocore's unless given."""

    def stored(table: str, key: Mapping[str, Any]) -> Item:
        found: Item = tables.client.get_item(TableName=table, Key=dict(key), ConsistentRead=True).get("Item", {})
        return found

    def counted(counter: Counter) -> tuple[int, int]:
        every = counters(counter.what, counter.grant, counter.principal, counter.start)
        item = next(one for one in items(every) if counter.window in one.names)
        table = tables.counters if counter.what == "calls" else tables.ledger
        found = stored(table, item.key)
        [keys] = slice_items.places([found]).values() or [[]]
        found = slice_items.merged(found, [stored(table, key) for key in keys])
        return item.numbers(found)[counter.window], sum(item.refused(found, counter.window).values())

    @contextmanager
    def cut(after: int) -> Iterator[None]:
        left = itertools.count(after, -1)

        def send(**_request: object) -> None:
            if next(left) <= 0:
                raise botocore.exceptions.ConnectionClosedError(endpoint_url="cut off by the test")

        tables.client.meta.events.register_first("before-send.dynamodb", send)
        try:
            yield
        finally:
            tables.client.meta.events.unregister("before-send.dynamodb", send)

    ledger, edge_state = DynamoLedger(tables, lambda: AHEAD), edge_state_of(tables, edge_client)
    client = edge_client or BotocoreClient(tables.client)
    running_state = DynamoRunningState(client, tables.control, "gateway-1")
    control, usage, answers = Control(tables), DynamoUsage(tables), DynamoAnswerUsage(client, tables.counters)
    budgets = DynamoBudgets(client, tables.counters)
    seen = (
        DynamoRefusedCalls(client, tables.counters),
        DynamoResponseTimes(client, tables.counters),
        DynamoMintNotes(tables),
    )
    again = functools.partial(over, tables, edge_client)
    return Adapters(ledger, edge_state, running_state, control, usage, budgets, answers, *seen, counted, again, cut)


def edge_state_of(tables: Tables, client: AwsClient | None = None) -> DynamoEdgeState:
    """Make the edge's state over a client; botocore's unless given."""
    return DynamoEdgeState(client or BotocoreClient(tables.client), tables.control, tables.counters)


def edge_client_at(url: str, make: Callable[..., EdgeClient] = EdgeClient) -> EdgeClient:
    """Return the edge's own client of what is at this URL, with made-up credentials. make: a class of it."""
    regions = {"dynamodb": "us-east-1", "kms": "us-east-1", "secretsmanager": "us-east-1"}
    found = endpoints.of(regions, {"AWS_ENDPOINT_URL": url, "AWS_CA_BUNDLE": os.environ.get("AWS_CA_BUNDLE", "")})
    return make(found, lambda: Credentials("AKIDEXAMPLE", "made-up", "made-up-too"))


def _behind_the_lock(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def one_at_a_time(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever moto takes and gives
        with _LOCK:
            return real(*arguments, **named)

    return one_at_a_time
