"""The exchange's state in DynamoDB: `chalicelib.exchange.ledger.Ledger` but for the audit, which is aws/audit.py's."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chalicelib.audit import Event
from chalicelib.aws import counters as dynamodb_counters
from chalicelib.aws import items as dynamodb_things
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.counters import CounterItem
from chalicelib.aws.tables import Item, Tables, number, read_batch, read_partition, run_parallel, text, transact
from chalicelib.errors import Unavailable
from chalicelib.exchange.ledger import (
    ExchangeState,
    Issuance,
    Lock,
    Pin,
    StateQuery,
    identity_changed,
    over_quota,
    refused_counters,
    retry,
)
from chalicelib.policy import grants
from chalicelib.policy.grants import Grant
from chalicelib.quota import Counter, Limit
from chalicelib.revocation import RevocationState, RevocationTarget

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

    def find(self, wanted: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        copy = dynamodb_things.copy_of(wanted.targets[-1].id)
        if wanted.grant is not None:
            return self._find_named(wanted, RevocationTarget("grant", wanted.grant), copy)
        targets, items, *taken = run_parallel(
            functools.partial(dynamodb_things.read, self._tables, wanted.targets, copy),
            functools.partial(self._candidates, wanted.issuer, wanted.key),
            *self._queries_of_tokens(wanted),
        )
        if len(items) > grants.CANDIDATES:
            return ExchangeState(targets, None)
        candidates = _grants([dynamodb_things.revocation_state(item) for item in items])
        return ExchangeState(targets, candidates, _taken((item for found in taken for item in found), wanted.now))

    def _find_named(self, wanted: StateQuery, named: RevocationTarget, copy: str) -> ExchangeState:
        targets = (*wanted.targets, named)
        counted = [
            dynamodb_counters.key_of("tokens", named.id, sub, window, start)
            for sub in wanted.subs()
            for window, start in dynamodb_counters.starts(wanted.now).items()
            if window != "minute"
        ]
        keys = {
            self._tables.control: [dynamodb_things.key(target, copy) for target in targets],
            self._tables.ledger: counted,
        }
        (items,) = run_parallel(functools.partial(read_batch, self._tables, keys))
        revocation_states = dynamodb_things.revocation_states(targets, copy, items)
        taken = _taken((item for item in items if text(item, "pk").startswith("tokens#")), wanted.now)
        return ExchangeState(revocation_states, _grants([revocation_states[named]]), taken)

    def _queries_of_tokens(self, wanted: StateQuery) -> list[Callable[[], list[Item]]]:
        """One for each `sub` and window: which of its grants it is about is not known yet."""
        starts = dynamodb_counters.starts(wanted.now)
        return [
            functools.partial(
                read_partition,
                self._tables,
                self._tables.ledger,
                f"tokens#{sub}",
                dynamodb_counters.beginning(window, starts[window]),
            )
            for sub in wanted.subs()
            for window in ("hour", "day")
        ]

    def record(self, event: Event) -> None:
        """See `Ledger.record`."""
        counters = refused_counters(event)
        updates = [
            {"Update": {"TableName": self._tables.ledger, **dynamodb_counters.add_refused(item, event.reason)}}
            for item in (dynamodb_counters.items(counters, event) if counters else ())
        ]
        if updates:
            self._write([(updates, _nothing_to_say), ([self.put(event)], _nothing_to_say)], event.id)
        else:
            super().record(event)

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        steps: list[_Step] = []
        if issuance.pin is not None:
            steps.append(_bind(self._tables.ledger, issuance.pin, now))
        if issuance.lock is not None:
            steps.append(_take(self._tables.ledger, issuance.lock, now))
        if issuance.counters:
            limits = issuance.counters[0][1]
            items = dynamodb_counters.items((counter for counter, _ in issuance.counters), issuance.event)
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
        """Write all or nothing; the first failed condition is explained."""
        failed = transact(self._tables, [action for actions, _ in steps for action in actions], token)
        if failed is None:
            return None
        left = iter(failed)
        for actions, explain in steps:
            items = [next(left, None) for _ in actions]
            if any(item is not None for item in items):
                return explain(items)
        raise Unavailable("state_inconsistent")


def _taken(items: Iterable[Item], now: int) -> dict[Counter, int]:
    minute = dynamodb_counters.starts(now)["minute"]
    return {counter: count for item in items for counter, count in dynamodb_counters.taken(item, minute).items()}


def _grants(revocation_states: Sequence[RevocationState]) -> tuple[tuple[Grant, RevocationState], ...]:
    return tuple((Grant.from_json(one.config), one) for one in revocation_states if one.config is not None)


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
