"""Items of revocation targets: where they are, and the typed values that they hold. What many callers read has 16 copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chalicelib.aws import round_trip
from chalicelib.aws.items import Item, number, text
from chalicelib.policy import stored
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.revocation import RevocationState, RevocationTarget

if TYPE_CHECKING:
    from chalicelib.issuers.registry import Issuer  # the edge, which must start quickly, reads no issuers

COPIES = "0123456789abcdef"
SHARED = ("everything", "issuer", "key", "grant")
"""Scopes that many callers read: written to all copies in one transaction, read from one, so that no item throttles."""
BLOCK = "b#"
"""The attribute of a block: `b#<revocation id>`, a number (its end) or null (no end)."""

_ONE = {"S": "-"}
"""The sort key of a target's item, which is alone in its partition."""


def key(target: RevocationTarget, copy: str) -> dict[str, Any]:
    """Return the key of one copy of a target's item."""
    return {"pk": {"S": _partition(target, copy)}, "sk": _ONE}


def keys(target: RevocationTarget) -> list[dict[str, Any]]:
    """Return the keys of all copies."""
    return [key(target, copy) for copy in (COPIES if target.scope in SHARED else "-")]


def candidate_key(issuer: str, key_name: str, grant: str) -> dict[str, Any]:
    """Return the key of a grant's seventeenth copy, which lists the candidates of an issuer and key."""
    return {"pk": {"S": f"grants#{issuer}#{key_name}"}, "sk": {"S": grant}}


def copy_of(seed: str) -> str:
    """Return the copy that the caller with this id reads."""
    return COPIES[hashlib.sha256(seed.encode()).digest()[0] % len(COPIES)]


def _partition(target: RevocationTarget, copy: str) -> str:
    # The copy is part of the partition key: sixteen partitions, rather than one that must be split first.
    mark = f"#{copy}" if target.scope in SHARED else ""
    return f"{target.scope}#{target.id}{mark}"


def revocation_state(item: Item) -> RevocationState:
    """Return the state that an item holds; an item that is not there, {}, is a target that was never revoked."""
    blocks = tuple(
        (name.removeprefix(BLOCK), int(value["N"]) if "N" in value else None)
        for name, value in item.items()
        if name.startswith(BLOCK)
    )
    return RevocationState(number(item, "epoch"), blocks)


def grant(item: Item) -> Grant | None:
    """Return the grant that an item holds, None if the policy has none of that name."""
    return stored.read_grant(item["config"]["S"]) if "config" in item else None


def issuer(item: Item) -> Issuer | None:
    """Return the OIDC issuer that an item holds, None if the policy has none of that URL."""
    return stored.read_issuer(item["config"]["S"]) if "config" in item else None


def changes(item: Item) -> int:
    """Return how often a grant's configuration has been written, the number of it that is in force."""
    return number(item, "changes")


def key_config(item: Item) -> KeyConfig | None:
    """Return the key that an item holds, None if the policy has none of that name."""
    # The version is an attribute of its own, for it is not the policy's: a key that comes back has the one it had.
    return stored.read_key(item["config"]["S"], text(item, "version")) if "config" in item else None


def signing_keys(item: Item) -> tuple[str, ...]:
    """Return the `kid`s of the live signing keys, which the item of everything lists."""
    return stored.read_signing_keys(item["config"]["S"]) if "config" in item else ()


def signs(item: Item) -> str:
    """Return the `kid` of the key that signs, "" if the item of everything names none."""
    return stored.read_signs(item["config"]["S"]) if "config" in item else ""


def reading(
    control: str, targets: Iterable[RevocationTarget], copy: str
) -> round_trip.Steps[dict[RevocationTarget, Item]]:
    """Read targets' items in one strongly consistent batch; raises Unavailable if any was left unread.

    control: the table's name.
    """
    wanted = tuple(targets)
    items = yield from round_trip.batch({control: [key(target, copy) for target in wanted]})
    return by_target(wanted, copy, items)


def by_target(targets: Iterable[RevocationTarget], copy: str, items: Iterable[Item]) -> dict[RevocationTarget, Item]:
    """Find each target's item among those of a batch, {} for one that is not there."""
    found = {text(item, "pk"): item for item in items if item.get("sk") == _ONE}
    return {target: found.get(_partition(target, copy), {}) for target in targets}
