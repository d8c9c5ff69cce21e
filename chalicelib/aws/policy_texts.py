"""Texts of policies in DynamoDB, compressed and in parts; those of the policy's versions with who applied them and when."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from chalicelib.audit import Event
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_partition
from chalicelib.aws.items import Item, number, text
from chalicelib.errors import StateUnread
from chalicelib.policy.plan import AppliedPolicy

CHUNK = 300 * 1024
"""Bytes of compressed text in one item; an item holds 400 KB."""


def read(tables: Tables, name: str) -> str:
    """Return the text of this name, "" if there is none; raises Unavailable."""
    return _unpacked(read_partition(tables, tables.control, f"policy#{name}"))


def items(version: int, whole: str, event: Event) -> list[dict[str, Any]]:
    """Return the items of a version's text, with who applied it and when."""
    who = {"author": {"S": event.actor}, "at": {"N": str(event.at)}}
    return [{**item, **who} for item in chunks(str(version), whole)]


def versions(tables: Tables, below: int, limit: int) -> tuple[AppliedPolicy, ...]:
    """Return the versions below a number, newest first, 100 at most; raises Unavailable."""
    wanted = range(below - 1, max(0, below - 1 - limit), -1)
    if not wanted:
        return ()
    asked: Any = {
        "Keys": [{"pk": {"S": f"policy#{one}"}, "sk": {"S": "0000"}} for one in wanted],
        "ConsistentRead": True,
        "ProjectionExpression": "pk, author, #at",
        "ExpressionAttributeNames": {"#at": "at"},
    }
    with as_unavailable():
        answer = tables.client.batch_get_item(RequestItems={tables.control: asked})
    if answer["UnprocessedKeys"]:
        raise StateUnread
    found = {text(item, "pk"): item for item in answer["Responses"][tables.control]}
    kept = [(one, found[key]) for one in wanted if (key := f"policy#{one}") in found]
    return tuple(AppliedPolicy(one, text(item, "author"), number(item, "at")) for one, item in kept)


def chunks(name: str, whole: str) -> list[dict[str, Any]]:
    """Return the items of a text, compressed."""
    packed = zlib.compress(whole.encode())
    return [
        {"pk": {"S": f"policy#{name}"}, "sk": {"S": f"{index:04d}"}, "text": {"B": packed[start : start + CHUNK]}}
        for index, start in enumerate(range(0, len(packed), CHUNK))
    ]


def _unpacked(items: Sequence[Item]) -> str:
    """Return a text from its items. What is left of a longer one, which an apply began that never finished, is not read."""
    packed = b"".join(bytes(item["text"]["B"]) for item in items)
    return zlib.decompress(packed).decode() if packed else ""
