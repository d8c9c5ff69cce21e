"""What answers took, in DynamoDB: `chalicelib.usage.AnswerUsage`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from chalicelib.aws import answer_items, round_trip
from chalicelib.aws.answer_items import Listed
from chalicelib.aws.edge_client import NO_CREDENTIALS
from chalicelib.aws.errors import REFUSED
from chalicelib.aws.round_trip import AwsClient, Request, RequestFailed, Steps
from chalicelib.errors import Unavailable
from chalicelib.usage import OTHER, Answered, NotAdded

ADD_SECONDS: Final = 2.0
"""Seconds after which `add` begins with no more rows; those it has begun with may take two round trips more."""
_AT_ONCE: Final = round_trip.CONNECTIONS // 2
"""Rows that are added at the same time."""
_REMEMBERED: Final = 100_000
"""Models that are known to be listed, at most."""
_MALFORMED: Final = "ValidationException"
_NOT_DONE: Final = REFUSED - {_MALFORMED} | {NO_CREDENTIALS}
"""Codes for a request of which nothing was done, and that may go better later."""


class DynamoAnswerUsage:
    """Over the table `counters`, whose name is given. For one thread at a time.

    A model is listed before anything is added under its name. That may be done twice, and after a failure it is done again
    first: tables that do not answer are met by what loses nothing.
    """

    def __init__(self, client: AwsClient, counters: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._table, self._clock = client, counters, clock
        self._listed: set[Listed] = set()

    def add(self, answered: Collection[Answered]) -> NotAdded:
        """See `AnswerUsage.add`. Each is one update of one item."""
        ends, waiting = self._clock() + ADD_SECONDS, list(answered)
        left: list[Answered] = []
        uncertain, cause = 0, ""
        while waiting and not cause and self._clock() < ends:
            rows, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            adding = _Adding(self._client, self._table, self._listed)
            adding.run(rows)
            left += adding.left
            uncertain += len(rows) - len(adding.left) - adding.added
            cause = adding.cause
        if cause or len(self._listed) > _REMEMBERED:
            self._listed.clear()
        return NotAdded((*left, *waiting), uncertain, cause)


class _Adding:
    """Some rows that are added at the same time. left: of these nothing was added. cause: of what failed first, or ""."""

    def __init__(self, client: AwsClient, table: str, listed: set[Listed]) -> None:
        self._client, self._table, self._listed = client, table, listed
        self._others: set[Listed] = set()
        self.left: list[Answered] = []
        self.added, self.cause = 0, ""

    def run(self, rows: Sequence[Answered]) -> None:
        """List what is not known to be listed, then add each row that may be."""
        unknown = sorted({answer_items.listed(one) for one in rows} - self._listed)
        if not self._made([self._list(one) for one in unknown]):
            self.left += rows
            return
        adds: list[Steps[None]] = []
        for one in rows:
            place = answer_items.listed(one)
            if place in self._listed or place in self._others:
                adds.append(self._add(one, OTHER if place in self._others else one.use.model))
            else:
                self.left.append(one)
        self._made(adds)

    def _made(self, calls: Sequence[Steps[None]]) -> bool:
        """Make these in one round trip. Whether it ended in time."""
        try:
            round_trip.make(self._client, *calls)
        except Unavailable as fault:
            self._failed(fault.aws_code)
            return False
        return True

    def _list(self, one: Listed) -> Steps[None]:
        try:
            yield self._updating(answer_items.list_model(one))
        except RequestFailed as failed:
            if failed.code in ("ConditionalCheckFailedException", _MALFORMED):
                self._others.add(one)
            else:
                self._failed(failed.code)
        else:
            self._listed.add(one)

    def _add(self, one: Answered, model: str) -> Steps[None]:
        try:
            yield self._updating(answer_items.add(one, model))
        except RequestFailed as failed:
            # SECURITY: what may have been added is not added again (test_a_lost_answer_counts_at_most_once).
            if failed.code in _NOT_DONE:
                self.left.append(one)
            self._failed(failed.code)
        else:
            self.added += 1

    def _failed(self, code: str) -> None:
        self.cause = self.cause or code or "unknown"

    def _updating(self, update: Mapping[str, Any]) -> Request:
        return Request("UpdateItem", {"TableName": self._table, "ReturnValues": "NONE", **update})
