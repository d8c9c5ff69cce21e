"""What else administrators write, in DynamoDB: key versions, signing keys, bound identities.

Every method is one transaction with its audit event; config, version, blocks and epoch are separate attributes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.audit import Event
from chalicelib.aws import target_items, target_writes
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_batch, read_item, transact
from chalicelib.aws.items import Item, text
from chalicelib.aws.policies import named
from chalicelib.errors import StateInconsistent
from chalicelib.policy import stored
from chalicelib.providers.errors import KeyChanged, NoSuchKey
from chalicelib.providers.keys import KeyConfig
from chalicelib.providers.rotation import Management, Rotation
from chalicelib.providers.versions import KeyInfo, KeyVersion
from chalicelib.revocation import EVERYTHING, RevocationTarget
from chalicelib.tokens.errors import SigningKeysChanged
from chalicelib.tokens.key_list import SigningKeyList


class DynamoControl:
    """`chalicelib.providers.versions.Keys`, `chalicelib.exchange.ledger.Pins` and the signing keys, over `control` and `ledger`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._audit = DynamoAudit(tables)

    def keys(self, event: Event) -> tuple[KeyInfo, ...]:
        """See `Keys.keys`."""
        found = self.known_keys()
        self._audit.record(event)
        return found

    def known_keys(self) -> tuple[KeyInfo, ...]:
        """See `Keys.known_keys`."""
        names = sorted(one.id for one in named(self._tables) if one.scope == "key")
        wanted = [target_items.key(RevocationTarget("key", name), "0") for name in names]
        items: list[Item] = []
        for start in range(0, len(wanted), 100):
            with as_unavailable():
                items += read_batch(self._tables, {self._tables.control: wanted[start : start + 100]})
        found = (_info(item, config) for item in items if (config := target_items.key_config(item)))
        return tuple(sorted(found, key=lambda one: one.name))

    def key_info(self, name: str) -> KeyInfo | None:
        """See `Keys.key_info`."""
        item = read_item(self._tables, target_items.key(RevocationTarget("key", name), "0"))
        config = target_items.key_config(item)
        return _info(item, config) if config else None

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        """See `Keys.set_key`."""
        target = RevocationTarget("key", name)
        values = {":version": {"S": version.version}, ":set": {"S": json.dumps(version.to_json())}}
        conditions = ["attribute_exists(config)"]
        if replaces:
            values[":replaced"] = {"S": replaces}
            conditions.append("version = :replaced")
        elif replaces is not None:
            conditions.append("attribute_not_exists(version)")
        change = {
            "UpdateExpression": "SET version = :version, version_set = :set",
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": values,
        }
        recorded = self._audit.put(event)
        if not target_writes.write(
            self._tables, target, lambda item: [*target_writes.update(self._tables, target, item, change), recorded]
        ):
            raise KeyChanged if self.key_info(name) else NoSuchKey(name)

    def change_key(self, before: KeyInfo, after: KeyInfo, event: Event | None = None) -> None:
        """See `Keys.change_key`."""
        target = RevocationTarget("key", before.name)
        recorded = [self._audit.put(event)] if event else []

        def actions(item: Item) -> list[Mapping[str, Any]]:
            config = target_items.key_config(item)
            if config is None:
                raise NoSuchKey(before.name)
            if _changeable(_info(item, config)) != _changeable(before):
                raise KeyChanged
            return [*target_writes.update(self._tables, target, item, _change(item, after)), *recorded]

        if not target_writes.write(self._tables, target, actions):
            raise KeyChanged if self.key_info(before.name) else NoSuchKey(before.name)

    def live_signing_keys(self) -> tuple[str, ...]:
        """Return the `kid`s of the signing keys that are listed; raises Unavailable."""
        return target_items.signing_keys(read_item(self._tables, target_items.key(EVERYTHING, "0")))

    def list_signing_keys(self, kids: tuple[str, ...]) -> None:
        """List the live signing keys; a token signed with any other is refused from the next call on."""
        self._write_signing_keys(lambda listed: listed.listing(kids))

    def signing_key_list(self) -> SigningKeyList:
        """See `SigningKeyLists.signing_key_list`."""
        return _signing_key_list(read_item(self._tables, target_items.key(EVERYTHING, "0")))

    def change_signing_keys(self, before: SigningKeyList, after: SigningKeyList, event: Event) -> None:
        """See `SigningKeyLists.change_signing_keys`."""

        def changed(listed: SigningKeyList) -> SigningKeyList:
            if listed != before:
                raise SigningKeysChanged
            return after

        self._write_signing_keys(changed, self._audit.put(event))

    def _write_signing_keys(
        self, changed: Callable[[SigningKeyList], SigningKeyList], *recorded: Mapping[str, Any]
    ) -> None:
        """Write all copies in one transaction, each on condition that it is as it was read; raises SigningKeysChanged."""

        def actions(item: Item) -> list[Mapping[str, Any]]:
            found = text(item, "config")
            change = {
                "UpdateExpression": "SET config = :config",
                "ConditionExpression": "config = :found" if found else "attribute_not_exists(config)",
                "ExpressionAttributeValues": {
                    ":config": {"S": changed(_signing_key_list(item)).to_text()},
                    **({":found": {"S": found}} if found else {}),
                },
            }
            return [*target_writes.update(self._tables, EVERYTHING, item, change), *recorded]

        if not target_writes.write(self._tables, EVERYTHING, actions):
            raise SigningKeysChanged

    def pin(self, principal: str, unique_id: str, event: Event) -> None:
        """See `Pins.pin`."""
        update = {
            "TableName": self._tables.ledger,
            "Key": {"pk": {"S": f"pin#{principal}"}, "sk": {"S": "-"}},
            "UpdateExpression": "SET unique_id = :id, bound_at = :now",
            "ExpressionAttributeValues": {":id": {"S": unique_id}, ":now": {"N": str(event.at)}},
        }
        if transact(self._tables, [{"Update": update}, self._audit.put(event)]) is not None:
            raise StateInconsistent  # there is already an event of this id


def _signing_key_list(item: Item) -> SigningKeyList:
    config = text(item, "config")
    return SigningKeyList.from_text(config) if config else SigningKeyList()


_CHANGED = ("version", "version_set", "rotation", "management")


def _changeable(info: KeyInfo) -> tuple[object, ...]:
    return info.current, info.rotation, info.management


def _change(item: Item, after: KeyInfo) -> dict[str, Any]:
    """Return the update that makes a key's item as `after` says, on condition that nobody has changed it meanwhile."""
    current = after.current
    values = {
        "version": current.version if current else "",
        "version_set": json.dumps(current.to_json()) if current else "",
        "rotation": after.rotation.to_text() if after.rotation else "",
        "management": after.management.to_text() if after.management else "",
    }
    found = {name: text(item, name) for name in _CHANGED}
    same = [f"{name} = :was_{name}" if found[name] else f"attribute_not_exists({name})" for name in _CHANGED]
    to_set = [f"{name} = :{name}" for name in _CHANGED if values[name]]
    to_remove = [name for name in _CHANGED if not values[name]]
    parts = [f"{verb} {', '.join(names)}" for verb, names in (("SET", to_set), ("REMOVE", to_remove)) if names]
    named = {f":{name}": one for name, one in values.items() if one} | {
        f":was_{name}": one for name, one in found.items() if one
    }
    return {
        "UpdateExpression": " ".join(parts),
        "ConditionExpression": " AND ".join(["attribute_exists(config)", *same]),
        **({"ExpressionAttributeValues": {name: {"S": one} for name, one in named.items()}} if named else {}),
    }


def _info(item: Item, config: KeyConfig) -> KeyInfo:
    name = text(item, "pk").split("#")[1]
    version, rotation, management = (text(item, one) for one in ("version_set", "rotation", "management"))
    return KeyInfo(
        name,
        config.provider,
        KeyVersion.from_json(json.loads(version)) if version else None,
        stored.read_rotate_after(text(item, "config")),
        Rotation.from_text(rotation) if rotation else None,
        Management.from_text(management) if management else None,
        stored.read_federated(text(item, "config")),
    )
