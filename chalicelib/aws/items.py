"""Items of things that can be stopped, as standings; what many callers share has 16 copies."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.aws.tables import Item, Tables, number, read_batch
from chalicelib.revocation import Standing, Thing

COPIES = "0123456789abcdef"
SHARED = ("everything", "issuer", "key", "grant")
"""What many callers read: written to all copies in one transaction, read from one, so that none throttles the rest."""
BLOCK = "b#"
"""The attribute of a block: `b#<revocation id>`, a number (its end) or null (no end)."""

NEVER_REVOKED = Standing()
_ONE = {"S": "-"}
"""The sort key of a thing, which is alone in its partition."""


def key(thing: Thing, copy: str) -> dict[str, Any]:
    """Return the key of a thing's item."""
    return {"pk": {"S": _partition(thing, copy)}, "sk": _ONE}


def keys(thing: Thing) -> list[dict[str, Any]]:
    """Return the keys of all copies."""
    return [key(thing, copy) for copy in (COPIES if thing.scope in SHARED else "-")]


def candidate_key(issuer: str, key_name: str, grant: str) -> dict[str, Any]:
    """Return the key of a grant's seventeenth copy, by which the candidates of an issuer and key are found."""
    return {"pk": {"S": f"grants#{issuer}#{key_name}"}, "sk": {"S": grant}}


def copy_of(seed: str) -> str:
    """Return which copy whoever has this id reads."""
    return COPIES[hashlib.sha256(seed.encode()).digest()[0] % len(COPIES)]


def _partition(thing: Thing, copy: str) -> str:
    # The copy is a part of the partition's key: sixteen partitions, and not one that has to be split first.
    mark = f"#{copy}" if thing.scope in SHARED else ""
    return f"{thing.scope}#{thing.id}{mark}"


def standing(item: Item) -> Standing:
    """Make a standing of an item. A key's version is an attribute of its own: it is not the policy's."""
    blocks = tuple(
        (name.removeprefix(BLOCK), int(value["N"]) if "N" in value else None)
        for name, value in item.items()
        if name.startswith(BLOCK)
    )
    config = _parsed(item["config"]["S"]) if "config" in item else None
    if config is not None and "version" in item:
        config = {**config, "version": item["version"]["S"]}
    return Standing(number(item, "epoch"), blocks, config)


@functools.lru_cache(maxsize=1024)
def _parsed(config: str) -> Mapping[str, Any]:
    """Return what a config says: the same text says the same, and is read with every call. Nobody changes it."""
    parsed: Mapping[str, Any] = json.loads(config)
    return parsed


def read(tables: Tables, things: Iterable[Thing], copy: str) -> dict[Thing, Standing]:
    """Read things in one strongly consistent batch; raises Unavailable if any was left unread."""
    wanted = tuple(things)
    return standings(wanted, copy, read_batch(tables, {tables.control: [key(thing, copy) for thing in wanted]}))


def standings(things: Iterable[Thing], copy: str, items: Iterable[Item]) -> dict[Thing, Standing]:
    """Find each thing among the items of a batch; one without an item was never revoked and has no config."""
    found = {item["pk"]["S"]: standing(item) for item in items if item["sk"] == _ONE}
    return {thing: found.get(_partition(thing, copy), NEVER_REVOKED) for thing in things}
