"""Items of things that can be stopped, as standings; what many callers share has 16 copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from chalicelib.dynamodb import Item, Tables, number, read_batch
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
    wanted = tuple(things)
    return standings(wanted, copy, read_batch(tables, {tables.control: [key(thing, copy) for thing in wanted]}))


def standings(things: Iterable[Thing], copy: str, items: Iterable[Item]) -> dict[Thing, Standing]:
    """Find each thing among the items of a batch; one without an item was never revoked and has no config."""
    found = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
    there = {thing: found.get((key(thing, copy)["pk"]["S"], key(thing, copy)["sk"]["S"])) for thing in things}
    return {thing: NEVER_REVOKED if item is None else standing(item) for thing, item in there.items()}
