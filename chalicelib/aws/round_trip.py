"""One round trip: calls that are made at the same time, each a generator of requests, over either of two clients.

The rules are written once, as generators: they yield a request, are sent its answer, or have RequestFailed raised in them.
`edge_client` makes the requests over kept connections without threads, `botocore_client` with botocore and threads.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from chalicelib.aws.items import Item, held, text
from chalicelib.errors import StateUnavailable, StateUnread

ROUND_TRIP_SECONDS = 1.0
"""Seconds that one round trip of state access may take where no whole call is bounded; past it the answer is 503."""
CALL_SECONDS = 3.0
"""Seconds that a call at the edge may wait for AWS: all of its round trips, names, connecting, TLS, and what is taken back."""
UNDO_SECONDS = 0.5
"""The last of these, and seconds past the end of any other round trip that failed, in which what it did is taken back."""
CONNECTIONS = 32
"""Requests in flight at once, at most."""
THROTTLED = frozenset(
    "ProvisionedThroughputExceededException RequestLimitExceeded ThrottlingException TransactionConflictException".split()  # noqa: SIM905  a list of words
)
"""DynamoDB's codes for a request that was one too many just then: nothing was done, and the next may be."""
HOT = "TableWriteKeyRangeThroughputExceeded"
"""DynamoDB's reason for throttling where one key range takes no more, as opposed to the table, its quota or the account's."""
_READS = 2
"""How often a batch is read: what DynamoDB has left unread, once more."""

_T = TypeVar("_T")


class Request(NamedTuple):
    """One request. operation: AWS's name of it, as `UpdateItem`. parameters: as its JSON has them."""

    operation: str
    parameters: Mapping[str, Any]


Steps = Generator[Request, Mapping[str, Any], _T]
"""A call: its requests, one after another, and what comes of them."""
NO_UNDO: Final[Mapping[int, Steps[Any]]] = MappingProxyType({})


TIMED_OUT = "TimedOut"
"""The cause of what was not answered in time."""
_ends: ContextVar[float | None] = ContextVar("ends", default=None)
"""When the call that is under way has no more time for another round trip, by the monotonic clock."""


class RequestFailed(Exception):  # noqa: N818  what happened to a request, no error of ours
    """AWS refused a request, or its answer is unknown. code: AWS's word, or the client's, "" if there is none.

    is_hot: nothing was done, since the item's key range takes no more writes just then.
    """

    def __init__(self, code: str = "", said: object = None) -> None:
        super().__init__(code)
        self.code, self.is_hot = code, code in THROTTLED and HOT in _throttling_reasons(said)


def _throttling_reasons(said: object) -> list[object]:
    """Return why DynamoDB throttled a request. said: what its error holds; its spelling differs from error to error."""
    if not isinstance(said, dict):
        return []
    reasons = said.get("ThrottlingReasons", said.get("throttlingReasons"))
    return [one.get("reason") for one in reasons if isinstance(one, dict)] if isinstance(reasons, list) else []


class AwsClient(Protocol):
    """What makes round trips."""

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """Make calls at the same time and return what came of each, in order; raises what the first one raised.

        Raises TimeoutError past `seconds`. undo: by a call's index, what takes back what it did; it raises nothing. If any
        call fails, the others are waited for until then, and those that were answered are taken back, each once, within
        UNDO_SECONDS more.
        """


@contextlib.contextmanager
def whole_call() -> Iterator[None]:
    """Let all round trips that are made within take CALL_SECONDS together."""
    token = _ends.set(time.monotonic() + CALL_SECONDS - UNDO_SECONDS)
    try:
        yield
    finally:
        _ends.reset(token)


def make(
    client: AwsClient,
    *calls: Steps[Any],
    undo: Mapping[int, Steps[Any]] = NO_UNDO,
    gives_back: bool = False,
) -> Sequence[Any]:
    """Make calls in one round trip; raises Unavailable. gives_back: it may take the time that is kept for that."""
    ends, seconds = _ends.get(), ROUND_TRIP_SECONDS
    if ends is not None:
        seconds = ends - time.monotonic() + UNDO_SECONDS * gives_back
    if seconds <= 0:
        raise StateUnavailable(aws_code=TIMED_OUT)  # nothing was sent, so nothing is counted
    try:
        return client.run(calls, seconds, undo)
    except RequestFailed as failed:
        raise StateUnavailable(aws_code=failed.code) from failed
    except TimeoutError as late:
        raise StateUnavailable(aws_code=TIMED_OUT) from late


def ask(operation: str, **parameters: Any) -> Steps[Mapping[str, Any]]:  # noqa: ANN401  as AWS has them
    """Make a single request."""
    return (yield Request(operation, parameters))


def batch(keys: Mapping[str, Iterable[Item]]) -> Steps[list[Item]]:
    """Read items, at most 100, in one strongly consistent batch; raises Unavailable if any was left unread.

    keys: by table; duplicates are read once. Items that do not exist are left out. What DynamoDB leaves unread is asked
    for once more.
    """
    once = {table: {(key["pk"]["S"], key["sk"]["S"]): key for key in wanted} for table, wanted in keys.items()}
    request: Any = {table: {"Keys": list(one.values()), "ConsistentRead": True} for table, one in once.items() if one}
    found: list[Item] = []
    for _ in range(_READS):
        answer = yield Request("BatchGetItem", {"RequestItems": request})
        by_table = held(answer, "Responses")
        # SECURITY: what is not one of the tables and items asked for is no answer: nothing would be blocked in it
        # (test_an_answer_of_another_table_is_refused, test_an_item_that_was_not_asked_for_is_refused).
        if not isinstance(by_table, dict) or not by_table.keys() <= once.keys():
            raise StateUnread
        for table, items in by_table.items():
            if not isinstance(items, list) or not all(
                (text(one, "pk"), text(one, "sk")) in once[table] for one in items
            ):
                raise StateUnread
            found += items
        request = answer.get("UnprocessedKeys")
        if not request:
            return found
    raise StateUnread
