"""Writes one thing with all its copies in DynamoDB: in one transaction, attribute by attribute."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalicelib.aws import items as dynamodb_things
from chalicelib.aws.tables import Item, Tables, as_unavailable, transact
from chalicelib.errors import Unavailable
from chalicelib.revocation import RevocationTarget

_TRIES = 5

Actions = Callable[[Item], Sequence[Mapping[str, Any]]]
"""Says what to write, given how the thing's item stands; {} if there is none."""


def update(tables: Tables, target: RevocationTarget, item: Item, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one update for each copy, a grant's copy among the candidates included. item: how the thing stands."""
    table = {"TableName": tables.control, **changes}
    updates = [{"Update": {**table, "Key": key}} for key in dynamodb_things.keys(target)]
    if target.scope == "grant" and "config" in item:
        config = json.loads(item["config"]["S"])
        candidate = dynamodb_things.candidate_key(config["issuer"], config["key"], target.id)
        # A grant that moved meanwhile must not leave a ghost among its former candidates.
        kept = " AND ".join(filter(None, ("attribute_exists(pk)", changes.get("ConditionExpression"))))
        updates.append({"Update": {**table, "Key": candidate, "ConditionExpression": kept}})
    return updates


def write(tables: Tables, target: RevocationTarget, actions: Actions) -> bool:
    """Write all or nothing, and again if what was read has changed meanwhile; False if the first condition fails.

    Raises Unavailable.
    """
    for _ in range(_TRIES):
        failed = transact(tables, actions(read(tables, dynamodb_things.key(target, "0"))))
        if failed is None:
            return True
        if failed[0] is not None:
            return False
    raise Unavailable("state_unavailable")


def read(tables: Tables, key: Mapping[str, Any]) -> Item:
    """Return an item of the control table, strongly consistent, {} if there is none; raises Unavailable."""
    with as_unavailable():
        answer = tables.client.get_item(TableName=tables.control, Key=dict(key), ConsistentRead=True)
    return answer.get("Item", {})
