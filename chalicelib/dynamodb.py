"""DynamoDB as both doors use it: bounded clients, the three tables, and what its errors mean here.

The items are laid out in docs/data-model.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import botocore.config
import botocore.exceptions
import botocore.session

from chalicelib.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WAVE_SECONDS = 1.0
"""Seconds that one wave of state access may take; past it the answer is 503."""
TRANSACTION_SECONDS = 2.0
"""Seconds within which a transaction that met another one is tried again."""

Item = Mapping[str, Any]
"""An item in DynamoDB's own form: name -> {"S": …} or {"N": …}."""

# Made at import, so that a frozen and thawed Lambda has its threads; each call below is bounded by itself.
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="dynamodb")


@dataclass(frozen=True, slots=True)
class Tables:
    """A client and the names of the tables: `control` is administrators', `counters` the edge's, `ledger` the broker's."""

    client: DynamoDBClient
    control: str
    counters: str
    ledger: str


def make_client(region: str, endpoint: str | None = None) -> DynamoDBClient:
    """Return a client whose every call ends within about a second, and that never retries by itself.

    Counters must not be added to twice, and a retry behind our back could do that.
    """
    bounds = botocore.config.Config(
        connect_timeout=WAVE_SECONDS / 2,
        read_timeout=WAVE_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=16,
    )
    session = botocore.session.get_session()
    client = session.create_client("dynamodb", region_name=region, endpoint_url=endpoint, config=bounds)
    return cast("DynamoDBClient", client)


@contextmanager
def answering() -> Iterator[None]:
    """Turn whatever DynamoDB cannot do just now into Unavailable; a failed condition is left to the caller."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        if cancelled(error) or code(error) == "ConditionalCheckFailedException":
            raise
        raise Unavailable("state_unavailable") from error
    except (botocore.exceptions.BotoCoreError, TimeoutError) as error:
        raise Unavailable("state_unavailable") from error


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make several calls as one wave and return what each answered; raises Unavailable past WAVE_SECONDS."""
    ends = time.monotonic() + WAVE_SECONDS
    with answering():
        started: list[Future[Any]] = [_POOL.submit(call) for call in calls]
        return [future.result(timeout=max(0.0, ends - time.monotonic())) for future in started]


def code(error: botocore.exceptions.ClientError) -> str:
    """Return an error's code, e.g. `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def cancelled(error: botocore.exceptions.ClientError) -> Sequence[Mapping[str, Any]]:
    """Return why each action of a transaction failed: `Code`, and the `Item` that was there; empty for other errors."""
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", [])
    return reasons if code(error) == "TransactionCanceledException" else []


def number(item: Item, name: str) -> int:
    """Return a number of an item, 0 if it is not there."""
    return int(item[name]["N"]) if name in item else 0


def text(item: Item, name: str) -> str:
    """Return a text of an item, "" if it is not there."""
    return str(item[name]["S"]) if name in item else ""
