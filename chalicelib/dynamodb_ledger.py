"""The exchange's state in DynamoDB: `chalicelib.ledger.Ledger` but for the audit, which is dynamodb_audit.py's."""

from __future__ import annotations

import functools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import dynamodb_counters, dynamodb_things, grants
from chalicelib.dynamodb import TRANSACTION_SECONDS, Item, Tables, answering, at_once, cancelled, number, text
from chalicelib.dynamodb_audit import DynamoAudit
from chalicelib.dynamodb_counters import CounterItem
from chalicelib.errors import Unavailable
from chalicelib.grants import Grant
from chalicelib.ledger import Found, Issuance, Lock, Pin, Wanted, identity_changed, over_quota, retry
from chalicelib.quota import Limit
from chalicelib.revocation import Standing, Thing

LOCK_KEPT = 86400
"""Seconds that a replay lock's item is kept after it has run out; then TTL may take it."""

_Action = Mapping[str, Any]
_Explain = Callable[[Sequence[Item | None]], object]
"""Says what failed conditions mean, given for each action the item that was there (None: its condition held).

Raises Refusal, or returns an earlier answer.
"""
_Step = tuple[Sequence[_Action], _Explain]


class DynamoLedger(DynamoAudit):
    """Two waves: `find` reads, `issue` is one transaction."""

    def __init__(self, tables: Tables, clock: Callable[[], float] = time.time) -> None:
        super().__init__(tables, clock)
        self._tables = tables

    def find(self, wanted: Wanted) -> Found:
        """See `Ledger.find`."""
        copy = dynamodb_things.copy_of(wanted.things[-1].id)
        if wanted.grant is not None:
            named = Thing("grant", wanted.grant)
            (things,) = at_once(functools.partial(dynamodb_things.read, self._tables, (*wanted.things, named), copy))
            return Found(things, _grants([things[named]]))
        things, items = at_once(
            functools.partial(dynamodb_things.read, self._tables, wanted.things, copy),
            functools.partial(self._candidates, wanted.issuer, wanted.key),
        )
        if len(items) > grants.CANDIDATES:
            return Found(things, None)
        return Found(things, _grants([dynamodb_things.standing(item) for item in items]))

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        steps: list[_Step] = []
        if issuance.pin is not None:
            steps.append(_bind(self._tables.ledger, issuance.pin, now))
        if issuance.lock is not None:
            steps.append(_take(self._tables.ledger, issuance.lock, now))
        if issuance.counters:
            limits = issuance.counters[0][1]
            items = dynamodb_counters.items(counter for counter, _ in issuance.counters)
            steps.append(_count(self._tables.ledger, items, limits, now))
        steps.append(([self.put(issuance.event)], _nothing_to_say))
        before = self._write(steps, issuance.event.id)
        return before if isinstance(before, Mapping) else None

    def _candidates(self, issuer: str, key: str) -> Sequence[Item]:
        partition = dynamodb_things.candidate_key(issuer, key, "")["pk"]
        found: list[Item] = []
        start: dict[str, Any] = {}
        while len(found) <= grants.CANDIDATES:
            answer = self._tables.client.query(
                TableName=self._tables.control,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": partition},
                ConsistentRead=True,
                Limit=grants.CANDIDATES + 1,
                **start,
            )
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found

    def _write(self, steps: Sequence[_Step], token: str) -> object:
        """Write all or nothing. What met another transaction is tried again; a failed condition is explained."""
        ends = time.monotonic() + TRANSACTION_SECONDS
        writes: Any = [action for actions, _ in steps for action in actions]
        while True:
            try:
                with answering():
                    self._tables.client.transact_write_items(TransactItems=writes, ClientRequestToken=token[:36])
            except ClientError as error:
                reasons = cancelled(error)
                failed = _failed(reasons, steps)
                if failed is not None:
                    return failed()
                conflict = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
                pause = random.uniform(0.01, 0.1)  # noqa: S311  jitter, no secret
                if not conflict or time.monotonic() + pause > ends:
                    raise Unavailable("state_unavailable") from error
                time.sleep(pause)
            else:
                return None


def _failed(reasons: Sequence[Mapping[str, Any]], steps: Sequence[_Step]) -> Callable[[], object] | None:
    """Return what explains the first step with a failed condition, or None if no condition failed."""
    left = iter(reasons)
    for actions, explain in steps:
        found = [next(left, {}) for _ in actions]
        items = [one.get("Item", {}) if one.get("Code") == "ConditionalCheckFailed" else None for one in found]
        if any(item is not None for item in items):
            return functools.partial(explain, items)
    return None


def _grants(standings: Sequence[Standing]) -> tuple[tuple[Grant, Standing], ...]:
    return tuple((Grant.from_json(one.config), one) for one in standings if one.config is not None)


def _bind(table: str, pin: Pin, now: int) -> _Step:
    action = {
        "TableName": table,
        "Key": {"pk": {"S": f"pin#{pin.principal}"}, "sk": {"S": "-"}},
        "UpdateExpression": "SET unique_id = :id, bound_at = if_not_exists(bound_at, :now)",
        "ConditionExpression": "attribute_not_exists(unique_id) OR unique_id = :id",
        "ExpressionAttributeValues": {":id": {"S": pin.unique_id}, ":now": {"N": str(now)}},
    }

    def explain(_items: Sequence[Item | None]) -> object:
        raise identity_changed()

    return [{"Update": action}], explain


def _take(table: str, lock: Lock, now: int) -> _Step:
    # TTL deletes late, never early, so whether a lock has run out is asked of the item itself.
    action = {
        "TableName": table,
        "Item": {
            "pk": {"S": f"lock#{lock.id}"},
            "sk": {"S": "-"},
            "expires": {"N": str(lock.expires)},
            "idempotency": {"S": lock.idempotency},
            "request": {"S": lock.request},
            "claims": {"S": json.dumps(lock.claims)},
            "expires_at": {"N": str(lock.expires + LOCK_KEPT)},
        },
        "ConditionExpression": "attribute_not_exists(pk) OR expires < :now",
        "ExpressionAttributeValues": {":now": {"N": str(now)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }

    def explain(items: Sequence[Item | None]) -> object:
        item = items[0] or {}
        idempotency, request = text(item, "idempotency"), text(item, "request")
        stored = Lock(lock.id, number(item, "expires"), idempotency, request, json.loads(text(item, "claims")))
        return retry(stored, lock, now)

    return [{"Put": action}], explain


def _count(table: str, items: Sequence[CounterItem], limits: tuple[Limit, ...], now: int) -> _Step:
    def explain(found: Sequence[Item | None]) -> object:
        numbers: dict[str, int] = {}
        for item, was in zip(items, found, strict=True):
            if was is not None:
                numbers |= {window: count + 1 for window, count in item.numbers(was).items()}
        over_quota([limit for limit in limits if limit.window in numbers], numbers, now)
        raise Unavailable("state_inconsistent")

    updates = [{"Update": {"TableName": table, **dynamodb_counters.add_within(item, limits)}} for item in items]
    return updates, explain


def _nothing_to_say(_items: Sequence[Item | None]) -> object:
    raise Unavailable("state_inconsistent")
