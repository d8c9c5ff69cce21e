"""What administrators write, in DynamoDB: revocations, keys' versions, signing keys, bound identities.

Every method is one transaction with its audit event; config, block and epoch are attributes of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import dynamodb_things
from chalicelib.audit import Event
from chalicelib.dynamodb import Item, Tables, answering, cancelled
from chalicelib.dynamodb_audit import DynamoAudit
from chalicelib.dynamodb_things import BLOCK
from chalicelib.errors import Refusal, Unavailable
from chalicelib.revocation import EVERYTHING, Revocation, Thing, detail

_NAMED = ("issuer", "key", "grant")
_TRIES = 5


class DynamoControl:
    """`Revocations`, `Pins`, and what the policy does not say, over the `control` and `ledger` tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._audit = DynamoAudit(tables)

    def revoke(self, revocation: Revocation, event: Event) -> None:
        """See `Revocations.revoke`. One transaction: the record, every copy, the event."""
        thing = Thing(revocation.scope, revocation.target)
        end = {"NULL": True} if revocation.until is None else {"N": str(revocation.until)}
        record = self._record(revocation, "attribute_not_exists(pk)")

        def actions(item: Item | None) -> list[dict[str, Any]]:
            if item is None and revocation.scope in _NAMED:
                text = f"there is no {revocation.scope} of this name: {revocation.target[:100]!r}"
                raise Refusal("no_such_thing", "not_found", 404, text)
            block = {
                "UpdateExpression": "SET #block = :end ADD epoch :one, touched :one",
                "ExpressionAttributeNames": {"#block": BLOCK + revocation.id},
                "ExpressionAttributeValues": {":end": end, ":one": {"N": "1"}},
            }
            return [record, *self._copies(thing, item, block), self._audit.put(event)]

        self._write(thing, actions)

    def lift(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """See `Revocations.lift`."""
        stored = self._stored(revocation_id)
        if stored is None or stored.lifted_at is not None:
            return stored
        lifted = replace(stored, lifted_at=event.at, lifted_by=author)
        principal = stored.target if stored.scope == "principal" else ""
        full = replace(event, principal=principal, detail=detail(stored))
        thing = Thing(stored.scope, stored.target)
        unblock = {
            "UpdateExpression": "REMOVE #block ADD touched :one",
            "ExpressionAttributeNames": {"#block": BLOCK + stored.id},
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }

        def actions(item: Item | None) -> list[dict[str, Any]]:
            record = self._record(lifted, "attribute_not_exists(lifted_at)")
            return [record, *self._copies(thing, item, unblock), self._audit.put(full)]

        if not self._write(thing, actions):
            return self._stored(revocation_id)  # somebody else was first
        return lifted

    def set_key_version(self, name: str, version: str, event: Event) -> None:
        """Say which version of a provider key is in force."""
        thing = Thing("key", name)
        update = {
            "UpdateExpression": "SET version = :version",
            "ExpressionAttributeValues": {":version": {"S": version}},
        }
        self._write(thing, lambda item: [*self._copies(thing, item, update), self._audit.put(event)])

    def list_signing_keys(self, kids: tuple[str, ...]) -> None:
        """Say which signing keys are live; a token signed with any other is refused."""
        update = {
            "UpdateExpression": "SET config = :config",
            "ExpressionAttributeValues": {":config": {"S": json.dumps({"signing": list(kids)})}},
        }
        self._write(EVERYTHING, lambda item: self._copies(EVERYTHING, item, update))

    def pin(self, principal: str, unique_id: str, event: Event) -> None:
        """See `Pins.pin`."""
        update = {
            "TableName": self._tables.ledger,
            "Key": {"pk": {"S": f"pin#{principal}"}, "sk": {"S": "-"}},
            "UpdateExpression": "SET unique_id = :id, bound_at = :now",
            "ExpressionAttributeValues": {":id": {"S": unique_id}, ":now": {"N": str(event.at)}},
        }
        self._write(Thing("principal", principal), lambda _: [{"Update": update}, self._audit.put(event)])

    def _copies(self, thing: Thing, item: Item | None, update: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return one update for each copy, a grant's copy among the candidates included."""
        table = {"TableName": self._tables.control, **update}
        updates = [{"Update": {**table, "Key": key}} for key in dynamodb_things.keys(thing)]
        if thing.scope == "grant" and item and "config" in item:
            config = json.loads(item["config"]["S"])
            candidate = dynamodb_things.candidate_key(config["issuer"], config["key"], thing.id)
            # A grant that moved meanwhile must not leave a ghost among its former candidates.
            condition = "attribute_exists(pk)"
            updates.append({"Update": {**table, "Key": candidate, "ConditionExpression": condition}})
        return updates

    def _write(self, thing: Thing, actions: Callable[[Item | None], list[dict[str, Any]]]) -> bool:
        """Write all or nothing, and again if what was read has changed meanwhile; False if it was done before."""
        for _ in range(_TRIES):
            item = self._item(thing)
            writes: Any = actions(item)
            try:
                with answering():
                    self._tables.client.transact_write_items(TransactItems=writes)
            except ClientError as error:
                reasons = cancelled(error)
                if reasons and reasons[0].get("Code") == "ConditionalCheckFailed":
                    return False
                if not reasons:
                    raise Unavailable("state_unavailable") from error
                time.sleep(0.05)
            else:
                return True
        raise Unavailable("state_unavailable")

    def _item(self, thing: Thing) -> Item | None:
        with answering():
            key = dynamodb_things.key(thing, "0")
            answer = self._tables.client.get_item(TableName=self._tables.control, Key=key, ConsistentRead=True)
        return answer.get("Item")

    def _record(self, revocation: Revocation, condition: str) -> dict[str, Any]:
        item: dict[str, Any] = {
            "pk": {"S": "revocations"},
            "sk": {"S": revocation.id},
            "record": {"S": json.dumps(revocation.to_json())},
        }
        if revocation.lifted_at is not None:
            item["lifted_at"] = {"N": str(revocation.lifted_at)}
        return {"Put": {"TableName": self._tables.control, "Item": item, "ConditionExpression": condition}}

    def _stored(self, revocation_id: str) -> Revocation | None:
        key = {"pk": {"S": "revocations"}, "sk": {"S": revocation_id}}
        with answering():
            answer = self._tables.client.get_item(TableName=self._tables.control, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return None
        return Revocation(**json.loads(str(answer["Item"]["record"]["S"])))
