"""Exports the audit on AWS, range by range: a range is written first, and then where it ended, by a conditional write."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from chalicelib.admin import ocsf
from chalicelib.audit import Event
from chalicelib.aws.audit import event_of, order
from chalicelib.aws.audit_chain import SEAL_LAG
from chalicelib.aws.audit_destinations import Destination
from chalicelib.aws.audit_stream import oldest_first
from chalicelib.aws.dynamodb import Tables, as_unavailable
from chalicelib.aws.errors import error_code
from chalicelib.aws.items import Item, text
from chalicelib.errors import StateUnavailable

IN_A_RANGE = 2000
"""Events of one object at most."""
FORMATS = ("jsonl", "ocsf")
_KEY: Item = {"pk": {"S": "chain#export"}, "sk": {"S": "-"}}


class AuditExport:
    """What has been exported is in an item of `ledger`, so an event is exported again only where a run was ended."""

    def __init__(self, tables: Tables, destination: Destination, form: str, *, claims: bool) -> None:
        self._tables, self._destination = tables, destination
        self._form, self._claims = form, claims

    def run(self, now: int, since: int, more: Callable[[], bool]) -> int:
        """Export what is old enough, while `more` says so; return how many events. Raises Unavailable.

        since: where the first export of all begins, epoch seconds.
        """
        bound = order(now - SEAL_LAG, "")
        done = self._done()
        after = done or order(since, "")
        if after >= bound:
            return 0
        events, count = oldest_first(self._tables, after, bound), 0
        while more():
            chunk = list(itertools.islice(events, IN_A_RANGE))
            to = text(chunk[-1], "sk") if len(chunk) == IN_A_RANGE else bound
            if chunk:
                self._destination.write(_name(after, to), [self._line(event_of(item)) for item in chunk])
            if not self._advance(done, to):
                break  # another run was quicker: what both wrote has the same ids
            done, after, count = to, to, count + len(chunk)
            if to == bound:
                break
        return count

    def _line(self, event: Event) -> str:
        if self._form == "ocsf":
            return json.dumps(ocsf.to_ocsf(event, claims=self._claims))
        return json.dumps(event.to_json() if self._claims else {**event.to_json(), "claims": {}})

    def _done(self) -> str:
        with as_unavailable():
            answer = self._tables.client.get_item(TableName=self._tables.ledger, Key=_KEY, ConsistentRead=True)
        return text(answer.get("Item", {}), "until")

    def _advance(self, before: str, to: str) -> bool:
        """Note how far it went; False if another run has."""
        condition, values = "attribute_not_exists(pk)", {":to": {"S": to}}
        if before:
            condition, values[":before"] = "#until = :before", {"S": before}
        try:
            with as_unavailable():
                self._tables.client.update_item(
                    TableName=self._tables.ledger,
                    Key=_KEY,
                    UpdateExpression="SET #until = :to",
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#until": "until"},
                    ExpressionAttributeValues=values,
                )
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise StateUnavailable(aws_code=error_code(error)) from error
        return True


def _name(after: str, to: str) -> str:
    """Return the name of a range: the day of its end, both of its times, and a hash of both edges."""
    day = datetime.fromtimestamp(int(to[:13]), UTC).strftime("%Y/%m/%d")
    edges = hashlib.sha256(f"{after}\n{to}".encode()).hexdigest()[:16]
    return f"{day}/{int(after[:13])}-{int(to[:13])}-{edges}"
