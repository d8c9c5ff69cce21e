"""The calls that gateways refused of late, in DynamoDB: `chalicelib.edge.refused_calls.RefusedCalls`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from chalicelib.aws import round_trip
from chalicelib.aws.items import text
from chalicelib.aws.round_trip import AwsClient
from chalicelib.edge.refused_calls import KEPT_SECONDS, RefusedCall

AT_ONCE = round_trip.CONNECTIONS // 2
"""Refused calls that are kept in one round trip, which is all that `keep` makes."""


class DynamoRefusedCalls:
    """Over the table `counters`, whose name is given: an item for each, which DynamoDB deletes. Who writes bounds how many."""

    def __init__(self, client: AwsClient, counters: str) -> None:
        self._client, self._table = client, counters

    def keep(self, refused: Collection[RefusedCall]) -> None:
        """See `RefusedCalls.keep`; of more than AT_ONCE, the last ones."""
        round_trip.make(
            self._client, *(round_trip.ask("UpdateItem", **self._update(one)) for one in [*refused][-AT_ONCE:])
        )

    def refused_call(self, request_id: str, now: int) -> RefusedCall | None:
        """See `RefusedCalls.refused_call`."""
        asked = round_trip.batch({self._table: [_key(request_id)]})
        for item in round_trip.make(self._client, asked)[0]:
            found = RefusedCall(**json.loads(text(item, "refused")))
            # DynamoDB takes days to delete what has expired.
            return found if found.at > now - KEPT_SECONDS else None
        return None

    def _update(self, one: RefusedCall) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": _key(one.request_id),
            "UpdateExpression": "SET refused = if_not_exists(refused, :refused), expires_at = :kept",
            "ExpressionAttributeValues": {
                ":refused": {"S": json.dumps(one.to_json())},
                ":kept": {"N": str(one.at + KEPT_SECONDS)},
            },
        }


def _key(request_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"refused#{request_id}"}, "sk": {"S": "call"}}
