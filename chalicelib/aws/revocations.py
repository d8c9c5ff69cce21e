"""Revocations in DynamoDB: `chalicelib.revocation.Revocations`. Each is one transaction: record, every copy, event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.audit import Event
from chalicelib.aws import target_items, target_writes
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.dynamodb import Tables, read_item, read_partition
from chalicelib.aws.items import Item
from chalicelib.aws.target_items import BLOCK
from chalicelib.errors import NoSuchTarget
from chalicelib.revocation import (
    EPOCHS,
    HOLDER,
    MUST_EXIST,
    TOKEN_REVOCATION_KEPT,
    Revocation,
    RevocationPage,
    RevocationState,
    RevocationTarget,
    detail,
    read_cursor,
)

_ALL, _BY_HOLDERS = "revocations", "revocations#holders"
"""Partitions of the records. Holders revoke tokens in large numbers, so those have a partition of their own."""


class DynamoRevocations:
    """Over the `control` table, and `ledger` for the events."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._audit = DynamoAudit(tables)

    def revoke(self, revocation: Revocation, event: Event) -> Revocation:
        """See `Revocations.revoke`."""
        target = RevocationTarget(revocation.scope, revocation.target)
        end = {"NULL": True} if revocation.until is None else {"N": str(revocation.until)}
        record = self._record(revocation, "attribute_not_exists(pk)")
        block: dict[str, Any] = {
            "UpdateExpression": "SET #block = :end ADD epoch :one, touched :one",
            "ExpressionAttributeNames": {"#block": BLOCK + revocation.id},
            "ExpressionAttributeValues": {":end": end, ":one": {"N": "1"}},
        }
        if revocation.scope == "token":
            block["UpdateExpression"] = "SET #block = :end, expires_at = :ttl ADD epoch :one, touched :one"
            block["ExpressionAttributeValues"][":ttl"] = _expires(revocation)

        def actions(item: Item) -> Sequence[Mapping[str, Any]]:
            if not item and revocation.scope in MUST_EXIST:
                raise NoSuchTarget(*target)
            return [record, *target_writes.update(self._tables, target, item, block), self._audit.put(event)]

        if target_writes.write(self._tables, target, actions):
            return revocation
        return self.revocation(revocation.id) or revocation

    def restore(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """See `Revocations.restore`."""
        stored = self.revocation(revocation_id)
        if stored is None or stored.lifted_at is not None:
            return stored
        restored = stored._replace(lifted_at=event.at, lifted_by=author)
        principal = stored.target if stored.scope == "principal" else ""
        full = replace(event, principal=principal, detail=detail(stored))
        target = RevocationTarget(stored.scope, stored.target)
        record = self._record(restored, "attribute_not_exists(lifted_at)")
        unblock = {
            "UpdateExpression": "REMOVE #block ADD touched :one",
            "ExpressionAttributeNames": {"#block": BLOCK + stored.id},
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }

        def actions(item: Item) -> Sequence[Mapping[str, Any]]:
            return [record, *target_writes.update(self._tables, target, item, unblock), self._audit.put(full)]

        if not target_writes.write(self._tables, target, actions):
            return self.revocation(revocation_id)  # another administrator was first
        return restored

    def revocations(self, scope: str, after: str, limit: int) -> RevocationPage:
        """See `Revocations.revocations`. There are few, so all are read, and sorted here."""
        before = read_cursor(after)
        partitions = (_ALL, _BY_HOLDERS) if scope == "token" else (_ALL,)
        items = [item for one in partitions for item in read_partition(self._tables, self._tables.control, one)]
        found = (_read(item) for item in items)
        scopes = (scope,) if scope else EPOCHS
        wanted = [one for one in found if one.scope in scopes and (one.at, one.id) < before]
        return RevocationPage.from_newest(
            sorted(wanted, key=lambda one: (one.at, one.id), reverse=True)[: limit + 1], limit
        )

    def revocation(self, revocation_id: str) -> Revocation | None:
        """See `Revocations.revocation`."""
        item = read_item(self._tables, _key(revocation_id))
        return _read(item) if item else None

    def revocation_state(self, target: RevocationTarget) -> RevocationState:
        """See `Revocations.revocation_state`."""
        return target_items.revocation_state(read_item(self._tables, target_items.key(target, "0")))

    def exists(self, target: RevocationTarget) -> bool:
        """See `Revocations.exists`."""
        return bool(read_item(self._tables, target_items.key(target, "0")))

    def _record(self, revocation: Revocation, condition: str) -> dict[str, Any]:
        item: dict[str, Any] = {
            **_key(revocation.id),
            "record": {"S": json.dumps(revocation.to_json())},
        }
        if revocation.scope == "token":
            item["expires_at"] = _expires(revocation)
        if revocation.lifted_at is not None:
            item["lifted_at"] = {"N": str(revocation.lifted_at)}
        return {"Put": {"TableName": self._tables.control, "Item": item, "ConditionExpression": condition}}


def _key(revocation_id: str) -> dict[str, Any]:
    partition = _BY_HOLDERS if revocation_id.startswith(HOLDER) else _ALL
    return {"pk": {"S": partition}, "sk": {"S": revocation_id}}


def _read(item: Item) -> Revocation:
    return Revocation(**json.loads(item["record"]["S"]))


def _expires(revocation: Revocation) -> dict[str, str]:
    return {"N": str(revocation.at + TOKEN_REVOCATION_KEPT)}
