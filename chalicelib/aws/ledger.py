"""The exchange's state in DynamoDB: `chalicelib.exchange.ledger.Ledger`, whose audit is aws/audit.py."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chalicelib.audit import REPEAT_SECONDS, Event
from chalicelib.aws import counter_items, target_items, target_writes
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.counter_items import CounterItem
from chalicelib.aws.dynamodb import Tables, read_batch, read_partition, run_parallel, transact
from chalicelib.aws.items import Item, held, number, text
from chalicelib.errors import StateInconsistent
from chalicelib.exchange.errors import IdentityChanged
from chalicelib.exchange.ledger import (
    Candidates,
    ExchangeState,
    Issuance,
    Lock,
    Pin,
    StateQuery,
    over_quota,
    refused_counters,
    retry,
)
from chalicelib.policy import grants
from chalicelib.principal import AWS
from chalicelib.quota import Counter, Limit
from chalicelib.revocation import EVERYTHING, RevocationTarget

LOCK_KEPT = 86400
"""Seconds that a replay lock's item is kept after the lock has expired; then DynamoDB's TTL may delete it."""

_Action = Mapping[str, Any]
_Explain = Callable[[Sequence[Item | None]], object]
"""What failed conditions mean. It gets, for each action, the item as it was (None: its condition held).

It raises Refusal, or returns an earlier answer.
"""
_Step = tuple[Sequence[_Action], _Explain]


class DynamoLedger(DynamoAudit):
    """`find` is one round trip of reads, `issue` one transaction."""

    def __init__(self, tables: Tables, clock: Callable[[], float] = time.time) -> None:
        super().__init__(tables, clock)
        self._tables = tables

    def find(self, query: StateQuery) -> ExchangeState:
        """See `Ledger.find`."""
        copy = target_items.copy_of(query.targets[-1].id)
        if query.grant is not None:
            return self._find_named(query, RevocationTarget("grant", query.grant), copy)
        found, candidates, *tokens = run_parallel(
            functools.partial(target_writes.read, self._tables, query.targets, copy),
            functools.partial(self._candidates, query.issuer, query.key),
            *self._queries_of_tokens(query),
        )
        if len(candidates) > grants.CANDIDATES:
            return _state(query, found, None, {})
        return _state(query, found, _grants(candidates), _taken((item for one in tokens for item in one), query.now))

    def _find_named(self, query: StateQuery, named: RevocationTarget, copy: str) -> ExchangeState:
        targets = (*query.targets, named)
        counted = [
            counter_items.key_of("tokens", named.id, sub, window, start)
            for sub in query.subs()
            for window, start in counter_items.starts(query.now).items()
            if window != "minute"
        ]
        keys = {
            self._tables.control: [target_items.key(target, copy) for target in targets],
            self._tables.ledger: counted,
        }
        (items,) = run_parallel(functools.partial(read_batch, self._tables, keys))
        found = target_items.by_target(targets, copy, items)
        taken = _taken((item for item in items if text(item, "pk").startswith("tokens#")), query.now)
        return _state(query, found, _grants([found[named]]), taken)

    def _queries_of_tokens(self, query: StateQuery) -> list[Callable[[], list[Item]]]:
        """Return a query for each `sub` and window, over all its grants: which one it is about is not known yet."""
        starts = counter_items.starts(query.now)
        return [
            functools.partial(
                read_partition,
                self._tables,
                self._tables.ledger,
                f"tokens#{sub}",
                counter_items.beginning(window, starts[window]),
            )
            for sub in query.subs()
            for window in ("hour", "day")
        ]

    def record(self, event: Event) -> None:
        """See `Ledger.record`."""
        counters = refused_counters(event)
        updates = [
            {"Update": {"TableName": self._tables.ledger, **counter_items.add_refused(item, event.reason)}}
            for item in (counter_items.items(counters, event) if counters else ())
        ]
        if not updates and not event.subject:
            super().record(event)
            return
        counted, written = (updates, _nothing_to_say), ([self.put(event)], _nothing_to_say)
        first = [_first(self._tables.ledger, event)] if event.subject else []
        before = self._write([counted, *first, written], event.id)
        if before is not None:
            repeated: _Action = {"TableName": self._tables.ledger, "Key": before, **_REPEATED}
            self._write([counted, ([{"Update": repeated}], _nothing_to_say)], f"repeated-{event.id}")

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """See `Ledger.issue`."""
        steps: list[_Step] = []
        if issuance.pin is not None:
            steps.append(_bind(self._tables.ledger, issuance.pin, now))
        if issuance.lock is not None:
            steps.append(_take(self._tables.ledger, issuance.lock, now))
        if issuance.counters:
            limits = issuance.counters[0][1]
            items = counter_items.items((counter for counter, _ in issuance.counters), issuance.event)
            steps.append(_count(self._tables.ledger, items, limits, now))
        steps.append(([self.put(issuance.event)], _nothing_to_say))
        before = self._write(steps, issuance.event.id)
        return before if isinstance(before, Mapping) else None

    def _candidates(self, issuer: str, key: str) -> Sequence[Item]:
        partition = target_items.candidate_key(issuer, key, "")["pk"]
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
            found += held(answer, "Items")
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
        raise StateInconsistent


def _taken(items: Iterable[Item], now: int) -> dict[Counter, int]:
    minute = counter_items.starts(now)["minute"]
    return {counter: count for item in items for counter, count in counter_items.taken(item, minute).items()}


def _state(
    query: StateQuery, found: Mapping[RevocationTarget, Item], candidates: Candidates | None, taken: dict[Counter, int]
) -> ExchangeState:
    issuer = found.get(RevocationTarget("issuer", query.issuer), {})
    return ExchangeState(
        states={target: target_items.revocation_state(item) for target, item in found.items()},
        issuer=target_items.issuer(issuer) if query.issuer != AWS else None,
        key=target_items.key_config(found.get(RevocationTarget("key", query.key), {})),
        grants=candidates,
        taken=taken,
        signs=target_items.signs(found.get(EVERYTHING, {})),
        signing_keys=target_items.signing_keys(found.get(EVERYTHING, {})),
    )


def _grants(items: Iterable[Item]) -> Candidates:
    held = ((target_items.grant(item), item) for item in items)
    return tuple((grant, target_items.revocation_state(item)) for grant, item in held if grant is not None)


def _bind(table: str, pin: Pin, now: int) -> _Step:
    action = {
        "TableName": table,
        "Key": {"pk": {"S": f"pin#{pin.principal}"}, "sk": {"S": "-"}},
        "UpdateExpression": "SET unique_id = :id, bound_at = if_not_exists(bound_at, :now)",
        "ConditionExpression": "attribute_not_exists(unique_id) OR unique_id = :id",
        "ExpressionAttributeValues": {":id": {"S": pin.unique_id}, ":now": {"N": str(now)}},
    }

    def explain(_items: Sequence[Item | None]) -> object:
        raise IdentityChanged

    return [{"Update": action}], explain


def _take(table: str, lock: Lock, now: int) -> _Step:
    # TTL deletes late, never early, so the condition checks by itself whether the lock has expired.
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
        raise StateInconsistent

    updates = [{"Update": {"TableName": table, **counter_items.add_within(item, limits)}} for item in items]
    return updates, explain


def _first(table: str, event: Event) -> _Step:
    """Note which event the next refusals of the same are counted in; explained, it is the key of an earlier one."""
    key = DynamoAudit.key(event)
    until = event.at + REPEAT_SECONDS
    action = {
        "TableName": table,
        "Item": {
            "pk": {"S": f"refused#{event.subject}"},
            "sk": {"S": "-"},
            "until": {"N": str(until)},
            "event_pk": key["pk"],
            "event_sk": key["sk"],
            "expires_at": {"N": str(until + LOCK_KEPT)},
        },
        "ConditionExpression": "attribute_not_exists(pk) OR #until <= :now",
        "ExpressionAttributeNames": {"#until": "until"},
        "ExpressionAttributeValues": {":now": {"N": str(event.at)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }

    def explain(items: Sequence[Item | None]) -> object:
        item = items[0] or {}
        if "event_pk" not in item:
            raise StateInconsistent
        return {"pk": item["event_pk"], "sk": item["event_sk"]}

    return [{"Put": action}], explain


_REPEATED = {
    "UpdateExpression": "ADD repeated :one",
    "ConditionExpression": "attribute_exists(pk)",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
}
"""Counts a refusal in an event that is there."""


def _nothing_to_say(_items: Sequence[Item | None]) -> object:
    raise StateInconsistent
