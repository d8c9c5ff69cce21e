"""Items of revocation targets read and written with botocore; what the edge needs of them is in target_items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chalicelib.aws import target_items
from chalicelib.aws.botocore_client import made
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_item, transact
from chalicelib.aws.items import Item
from chalicelib.errors import StateUnavailable
from chalicelib.revocation import RevocationTarget

_TRIES = 5

Actions = Callable[[Item], Sequence[Mapping[str, Any]]]
"""Returns what to write, given a target's item as it is; {} if there is none."""


def read(tables: Tables, targets: Iterable[RevocationTarget], copy: str) -> dict[RevocationTarget, Item]:
    """Read targets' items in one strongly consistent batch; raises Unavailable if any was left unread."""
    with as_unavailable():
        return made(tables.client, target_items.reading(tables.control, targets, copy))


def update(tables: Tables, target: RevocationTarget, item: Item, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one update for each copy, a grant's copy among the candidates included. item: as it is now."""
    table = {"TableName": tables.control, **changes}
    updates = [{"Update": {**table, "Key": key}} for key in target_items.keys(target)]
    held = target_items.grant(item) if target.scope == "grant" else None
    if held is not None:
        candidate = target_items.candidate_key(held.issuer, held.key, target.id)
        # A grant that moved meanwhile must not leave a ghost among its former candidates.
        kept = " AND ".join(filter(None, ("attribute_exists(pk)", changes.get("ConditionExpression"))))
        updates.append({"Update": {**table, "Key": candidate, "ConditionExpression": kept}})
    return updates


def write(tables: Tables, target: RevocationTarget, actions: Actions) -> bool:
    """Write all or nothing, again if what was read has changed meanwhile; False if the first condition fails.

    Raises Unavailable.
    """
    for _ in range(_TRIES):
        failed = transact(tables, actions(read_item(tables, target_items.key(target, "0"))))
        if failed is None:
            return True
        if failed[0] is not None:
            return False
    raise StateUnavailable
