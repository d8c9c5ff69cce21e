"""Items of things that can be stopped, as standings; what many callers share has 16 copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.dynamodb import Item, Tables, number
from chalicelib.errors import Unavailable
from chalicelib.revocation import Standing, Thing

COPIES = "0123456789abcdef"
SHARED = ("everything", "issuer", "key", "grant")
"""What many callers read: written to all copies in one transaction, read from one, so that none throttles the rest."""
BLOCK = "b#"
"""The attribute of a block: `b#<revocation id>`, a number (its end) or null (no end)."""

NEVER_REVOKED = Standing()


def key(thing: Thing, copy: str) -> dict[str, Any]:
    """Return the key of a thing's item."""
    return {"pk": {"S": f"{thing.scope}#{thing.id}"}, "sk": {"S": copy if thing.scope in SHARED else "-"}}


def keys(thing: Thing) -> list[dict[str, Any]]:
    """Return the keys of all copies."""
    return [key(thing, copy) for copy in (COPIES if thing.scope in SHARED else "-")]


def candidate_key(issuer: str, key_name: str, grant: str) -> dict[str, Any]:
    """Return the key of a grant's seventeenth copy, by which the candidates of an issuer and key are found."""
    return {"pk": {"S": f"grants#{issuer}#{key_name}"}, "sk": {"S": grant}}


def copy_of(seed: str) -> str:
    """Return which copy whoever has this id reads."""
    return COPIES[hashlib.sha256(seed.encode()).digest()[0] % len(COPIES)]


def standing(item: Item) -> Standing:
    """Make a standing of an item. A key's version is an attribute of its own: it is not the policy's."""
    blocks = tuple(
        (name.removeprefix(BLOCK), int(value["N"]) if "N" in value else None)
        for name, value in item.items()
        if name.startswith(BLOCK)
    )
    config = json.loads(item["config"]["S"]) if "config" in item else None
    if config is not None and "version" in item:
        config = {**config, "version": item["version"]["S"]}
    return Standing(number(item, "epoch"), blocks, config)


def read(tables: Tables, things: Iterable[Thing], copy: str) -> dict[Thing, Standing]:
    """Read things in one strongly consistent batch; raises Unavailable if any was left unread."""
    wanted = {json.dumps(key(thing, copy)): thing for thing in things}
    request = {tables.control: {"Keys": [json.loads(one) for one in wanted], "ConsistentRead": True}}
    answer = tables.client.batch_get_item(RequestItems=request)  # type: ignore[arg-type]  # the stubs want literals
    if answer.get("UnprocessedKeys"):
        raise Unavailable("state_unread")
    found: Mapping[str, Item] = {
        json.dumps({"pk": item["pk"], "sk": item["sk"]}): item for item in answer["Responses"].get(tables.control, [])
    }
    return {thing: standing(found[name]) if name in found else NEVER_REVOKED for name, thing in wanted.items()}
