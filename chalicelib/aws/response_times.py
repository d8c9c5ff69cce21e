"""How long answers took at gateways, in DynamoDB: `chalicelib.edge.response_times.ResponseTimes`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from chalicelib.aws import round_trip
from chalicelib.aws.items import Item, held, number, text
from chalicelib.aws.round_trip import AwsClient, Steps
from chalicelib.edge.response_times import BOUNDS, SHOWN_SECONDS, Responses
from chalicelib.usage import window_start

PARTITION: Final = "responses"
"""The partition of these items in the table `counters`; the sort key is the window."""
_LEFT_SECONDS: Final = 3600
"""Seconds past the last time that a window is shown, after which DynamoDB deletes it."""


class DynamoResponseTimes:
    """Over the table `counters`, whose name is given: an item for each window, to which every gateway adds."""

    def __init__(self, client: AwsClient, counters: str) -> None:
        self._client, self._table = client, counters

    def add(self, noted: Collection[Responses]) -> None:
        """See `ResponseTimes.add`; an update for each window. What is not answered in time may be counted."""
        round_trip.make(self._client, *(round_trip.ask("UpdateItem", **self._update(one)) for one in noted))

    def responses(self, now: int) -> tuple[Responses, ...]:
        """See `ResponseTimes.responses`; a query for each kind of window."""
        found = round_trip.make(self._client, *(self._of(window, now) for window in SHOWN_SECONDS))
        return tuple(one for items in found for one in items)

    def _of(self, window: str, now: int) -> Steps[list[Responses]]:
        since = window_start(window, now - SHOWN_SECONDS[window])
        answer = yield round_trip.Request(
            "Query",
            {
                "TableName": self._table,
                "KeyConditionExpression": "pk = :pk AND sk BETWEEN :since AND :now",
                "ExpressionAttributeValues": {
                    ":pk": {"S": PARTITION},
                    ":since": {"S": _sort_key(window, since)},
                    ":now": {"S": _sort_key(window, now)},
                },
            },
        )
        return [_responses(window, item) for item in held(answer, "Items")]

    def _update(self, one: Responses) -> dict[str, Any]:
        counts = {name: count for name, count in zip(_NAMES, (one.failed, *one.buckets), strict=True) if count}
        kept = one.start + SHOWN_SECONDS[one.window] + _LEFT_SECONDS
        return {
            "TableName": self._table,
            "Key": {"pk": {"S": PARTITION}, "sk": {"S": _sort_key(one.window, one.start)}},
            "UpdateExpression": "SET expires_at = :kept ADD " + ", ".join(f"{name} :{name}" for name in counts),
            "ExpressionAttributeValues": {
                ":kept": {"N": str(kept)},
                **{f":{name}": {"N": str(count)} for name, count in counts.items()},
            },
        }


_NAMES: Final = ("failed", *(f"b{index:02d}" for index in range(len(BOUNDS) + 1)))


def _sort_key(window: str, start: int) -> str:
    return f"{window}#{start:013d}"


def _responses(window: str, item: Item) -> Responses:
    failed, *buckets = (number(item, name) for name in _NAMES)
    return Responses(window, int(text(item, "sk").rpartition("#")[2]), failed, tuple(buckets))
