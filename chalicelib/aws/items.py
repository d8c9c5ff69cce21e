"""Items of things that can be stopped, as standings; what many callers share has 16 copies."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.aws.tables import Item, Tables, number, read_batch
from chalicelib.revocation import RevocationState, RevocationTarget

COPIES = "0123456789abcdef"
SHARED = ("everything", "issuer", "key", "grant")
"""What many callers read: written to all copies in one transaction, read from one, so that none throttles the rest."""
BLOCK = "b#"
"""The attribute of a block: `b#<revocation id>`, a number (its end) or null (no end)."""

NEVER_REVOKED = RevocationState()
_ONE = {"S": "-"}
"""The sort key of a thing, which is alone in its partition."""


def key(target: RevocationTarget, copy: str) -> dict[str, Any]:
    """Return the key of a thing's item."""
    return {"pk": {"S": _partition(target, copy)}, "sk": _ONE}


def keys(target: RevocationTarget) -> list[dict[str, Any]]:
    """Return the keys of all copies."""
    return [key(target, copy) for copy in (COPIES if target.scope in SHARED else "-")]


def candidate_key(issuer: str, key_name: str, grant: str) -> dict[str, Any]:
    """Return the key of a grant's seventeenth copy, by which the candidates of an issuer and key are found."""
    return {"pk": {"S": f"grants#{issuer}#{key_name}"}, "sk": {"S": grant}}


def copy_of(seed: str) -> str:
    """Return which copy whoever has this id reads."""
    return COPIES[hashlib.sha256(seed.encode()).digest()[0] % len(COPIES)]


def _partition(target: RevocationTarget, copy: str) -> str:
    # The copy is a part of the partition's key: sixteen partitions, and not one that has to be split first.
    mark = f"#{copy}" if target.scope in SHARED else ""
    return f"{target.scope}#{target.id}{mark}"


def revocation_state(item: Item) -> RevocationState:
    """Make a standing of an item. A key's version is an attribute of its own: it is not the policy's."""
    blocks = tuple(
        (name.removeprefix(BLOCK), int(value["N"]) if "N" in value else None)
        for name, value in item.items()
        if name.startswith(BLOCK)
    )
    config = _parsed(item["config"]["S"]) if "config" in item else None
    if config is not None and "version" in item:
        config = {**config, "version": item["version"]["S"]}
    return RevocationState(number(item, "epoch"), blocks, config)


@functools.lru_cache(maxsize=1024)
def _parsed(config: str) -> Mapping[str, Any]:
    """Return what a config says: the same text says the same, and is read with every call. Nobody changes it."""
    parsed: Mapping[str, Any] = json.loads(config)
    return parsed


def read(tables: Tables, targets: Iterable[RevocationTarget], copy: str) -> dict[RevocationTarget, RevocationState]:
    """Read things in one strongly consistent batch; raises Unavailable if any was left unread."""
    wanted = tuple(targets)
    return revocation_states(
        wanted, copy, read_batch(tables, {tables.control: [key(target, copy) for target in wanted]})
    )


def revocation_states(
    targets: Iterable[RevocationTarget], copy: str, items: Iterable[Item]
) -> dict[RevocationTarget, RevocationState]:
    """Find each thing among the items of a batch; one without an item was never revoked and has no config."""
    found = {item["pk"]["S"]: revocation_state(item) for item in items if item["sk"] == _ONE}
    return {target: found.get(_partition(target, copy), NEVER_REVOKED) for target in targets}
