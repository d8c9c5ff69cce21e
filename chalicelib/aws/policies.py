"""The policy in DynamoDB: `chalicelib.policy.plan.Policies`. Removals and narrowings first, the version last.

Each target is written with all its copies in one transaction, which also checks that no other apply has begun. An
interrupted apply leaves the version as it was; repeating it writes what is still missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from chalicelib.audit import Event
from chalicelib.aws import policy_texts, target_items, target_writes
from chalicelib.aws.audit import DynamoAudit
from chalicelib.aws.dynamodb import Tables, as_unavailable, read_item, transact
from chalicelib.aws.items import Item, number, text
from chalicelib.errors import StateInconsistent, StateUnavailable, StateUncertain, Unavailable
from chalicelib.policy import narrowing, stored
from chalicelib.policy.compile import Policy
from chalicelib.policy.coverage import covers
from chalicelib.policy.errors import PolicyChanged
from chalicelib.policy.plan import VERSIONS, AppliedPolicy, StoredPolicy
from chalicelib.principal import RefusedValues
from chalicelib.revocation import RevocationTarget

_TRIES = 5
_HEAD = {"pk": {"S": "policy"}, "sk": {"S": "-"}}
_LANES = 8
"""Transactions of one apply at the same time. Each lane checks an item of its own, since two on one would conflict."""

Configs = Mapping[RevocationTarget, str]
"""What is stored for each target that a policy names: the texts of `stored.configs`."""


@dataclass(frozen=True, slots=True)
class _Apply:
    """One apply in progress."""

    sha: str
    """Of the text, which identifies it."""
    expected: int
    """The version that it replaces."""
    refused: Mapping[str, RefusedValues]
    """What each issuer of the policy refuses, as `narrowing.refused_values`."""


class DynamoPolicies:
    """Over the `control` table."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._audit = DynamoAudit(tables)

    def current(self) -> StoredPolicy:
        """See `Policies.current`."""
        head = read_item(self._tables, _HEAD)
        version = number(head, "version")
        whole = policy_texts.read(self._tables, str(version)) if version else ""
        return StoredPolicy(version, whole, text(head, "author"), number(head, "at"))

    def versions(self, below: int, limit: int = VERSIONS) -> tuple[AppliedPolicy, ...]:
        """See `Policies.versions`."""
        # SECURITY: above the head is what an apply began and never finished (test_an_abandoned_text_is_no_version).
        newest = number(read_item(self._tables, _HEAD), "version")
        return policy_texts.versions(self._tables, min(below, newest + 1), min(limit, VERSIONS))

    def version(self, number: int) -> StoredPolicy | None:
        """See `Policies.version`."""
        listed = self.versions(number + 1, 1)
        if not listed or listed[0].version != number:
            return None
        return StoredPolicy(number, policy_texts.read(self._tables, str(number)), listed[0].author, listed[0].at)

    def apply(self, policy: Policy, text: str, expected: int, event: Event) -> StoredPolicy:
        """See `Policies.apply`."""
        apply = _Apply(hashlib.sha256(text.encode()).hexdigest(), expected, narrowing.refused_values(policy))
        self._begin(apply)
        wanted = stored.configs(policy)
        known = self._known(expected)
        self._put_names(f"pending#{expected}", known | set(wanted), apply)
        in_force = self._in_force(known | set(wanted))
        try:
            self._put_in_force(apply, _phases(in_force, wanted), wanted)
            self._put_text(apply, text, event)
            self._put_names(f"names#{expected + 1}", set(wanted), apply)
            return self._finish(apply, event, StoredPolicy(expected + 1, text, event.actor, event.at))
        except Unavailable as fault:  # a part of it is in force by now, or all of it
            raise StateUncertain(aws_code=fault.aws_code) from fault

    def _put_in_force(self, apply: _Apply, phases: Iterable[Sequence[RevocationTarget]], wanted: Configs) -> None:
        for phase in phases:
            with ThreadPoolExecutor(max_workers=_LANES) as pool:
                lanes = [pool.submit(self._write_lane, apply, phase, lane, wanted) for lane in range(_LANES)]
            for lane in lanes:
                lane.result()

    def _begin(self, apply: _Apply) -> None:
        """Take the lead: the writes of any apply that began before and has not finished fail from now on."""
        condition = "version = :expected" if apply.expected else "attribute_not_exists(version)"
        values = {":sha": {"S": apply.sha}} | ({":expected": {"N": str(apply.expected)}} if apply.expected else {})
        lead = {
            "TableName": self._tables.control,
            "UpdateExpression": "SET pending = :sha",
            "ExpressionAttributeValues": {":sha": {"S": apply.sha}},
        }
        head = {**lead, "Key": _HEAD, "ConditionExpression": condition, "ExpressionAttributeValues": values}
        leads = [{"Update": {**lead, "Key": _lead(lane)}} for lane in range(_LANES)]
        self._written([{"Update": head}, *leads], apply)

    def _finish(self, apply: _Apply, event: Event, stored: StoredPolicy) -> StoredPolicy:
        update = {
            "TableName": self._tables.control,
            "Key": _HEAD,
            "UpdateExpression": "SET version = :version, author = :author, #at = :at REMOVE pending",
            "ConditionExpression": "pending = :sha",
            "ExpressionAttributeNames": {"#at": "at"},
            "ExpressionAttributeValues": {
                ":version": {"N": str(stored.version)},
                ":author": {"S": stored.author},
                ":at": {"N": str(stored.at)},
                ":sha": {"S": apply.sha},
            },
        }
        if not self._written([{"Update": update}, self._audit.put(event)], apply):
            raise StateInconsistent  # there is already an event of this id
        return stored

    def _write_lane(self, apply: _Apply, phase: Sequence[RevocationTarget], lane: int, wanted: Configs) -> None:
        for target in phase[lane::_LANES]:
            self._write(apply, target, wanted.get(target), lane)

    def _write(self, apply: _Apply, target: RevocationTarget, config: str | None, lane: int) -> None:
        """Set or remove a target's config on all its copies; again if it was revoked or restored meanwhile."""
        for _ in range(_TRIES):
            was = read_item(self._tables, target_items.key(target, "0"))
            # What was written already, by an interrupted apply or another of the same text, ends nothing again.
            ends = narrowing.epoch_rises(target, text(was, "config") or None, config, apply.refused)
            writes = [
                self._leading(apply, lane),
                *self._copies(target, was, config, ends=ends),
                *self._candidates(target, was, config, ends=ends),
            ]
            if self._written(writes, apply):
                return
        raise StateUnavailable

    def _copies(self, target: RevocationTarget, was: Item, config: str | None, *, ends: bool) -> list[dict[str, Any]]:
        """Return the writes of a target's copies. ends: its epoch goes up with them, and so do its tokens end."""
        same = "touched = :touched" if "touched" in was else "attribute_not_exists(touched)"
        values: dict[str, Any] = {":touched": was["touched"]} if "touched" in was else {}
        if config is not None:
            values[":config"] = {"S": config}
        # `touched` too: of two that write the same, the second must see that the epoch has gone up (test_an_apply_between_read_and_write).
        counted = ["epoch", "touched"] * ends
        if target.scope == "grant":
            # SECURITY: numbers that were handed out ahead under other limits are known by it, even once these are back
            # (test_limits_that_come_back).
            counted.append("changes")
        rises = " ADD " + ", ".join(f"{name} :one" for name in counted) if counted else ""
        if counted:
            values[":one"] = {"N": "1"}
        common = {
            "TableName": self._tables.control,
            "UpdateExpression": ("REMOVE config" if config is None else "SET config = :config") + rises,
            "ConditionExpression": same,
            **({"ExpressionAttributeValues": values} if values else {}),
        }
        return [{"Update": {**common, "Key": key}} for key in target_items.keys(target)]

    def _candidates(
        self, target: RevocationTarget, was: Item, config: str | None, *, ends: bool
    ) -> list[dict[str, Any]]:
        """Return the writes of a grant's copy among the candidates of its issuer and key, and the removal of its old one."""
        if target.scope != "grant":
            return []
        old, new = target_items.grant(was), stored.read_grant(config) if config else None
        before = target_items.candidate_key(old.issuer, old.key, target.id) if old else None
        after = target_items.candidate_key(new.issuer, new.key, target.id) if new else None
        writes: list[dict[str, Any]] = []
        if before and before != after:
            writes.append({"Delete": {"TableName": self._tables.control, "Key": before}})
        if after and config:
            # Attribute by attribute: the copy gets the others' blocks and epoch, which this transaction checks.
            kept = {name: value for name, value in was.items() if name not in ("pk", "sk", "config")}
            kept["config"] = {"S": config}
            if ends:
                kept |= {name: {"N": str(number(was, name) + 1)} for name in ("epoch", "touched")}
            update = {
                "TableName": self._tables.control,
                "Key": after,
                "UpdateExpression": "SET " + ", ".join(f"#{index} = :{index}" for index in range(len(kept))),
                "ExpressionAttributeNames": {f"#{index}": name for index, name in enumerate(kept)},
                "ExpressionAttributeValues": {f":{index}": value for index, value in enumerate(kept.values())},
            }
            writes.append({"Update": update})
        return writes

    def _leading(self, apply: _Apply, lane: int) -> dict[str, Any]:
        check = {
            "TableName": self._tables.control,
            "Key": _lead(lane),
            "ConditionExpression": "pending = :sha",
            "ExpressionAttributeValues": {":sha": {"S": apply.sha}},
        }
        return {"ConditionCheck": check}

    def _written(self, writes: Sequence[Mapping[str, Any]], apply: _Apply) -> bool:
        """Write all or nothing; False if the target was revoked or restored since it was read. Raises PolicyChanged."""
        failed = transact(self._tables, writes)
        if failed and failed[0] is not None:
            raise PolicyChanged(apply.expected, number(read_item(self._tables, _HEAD), "version"))
        return failed is None

    def _known(self, version: int) -> set[RevocationTarget]:
        """Return all that the version in force, or an abandoned apply on top of it, may have written."""
        return _names(self._tables, f"names#{version}") | _names(self._tables, f"pending#{version}")

    def _in_force(self, targets: Iterable[RevocationTarget]) -> dict[RevocationTarget, str | None]:
        wanted = sorted(targets, key=lambda target: (target.scope, target.id))
        found: dict[RevocationTarget, Item] = {}
        for start in range(0, len(wanted), 100):
            with as_unavailable():
                found |= target_writes.read(self._tables, wanted[start : start + 100], "0")
        return {target: item["config"]["S"] if "config" in item else None for target, item in found.items()}

    def _put_text(self, apply: _Apply, whole: str, event: Event) -> None:
        """Store the text of a version, while we lead; it is none until it is in force. Raises PolicyChanged, Unavailable."""
        # SECURITY: who lost the lead never replaces the text that was applied (test_a_loser_replaces_no_text).
        for item in policy_texts.items(apply.expected + 1, whole, event):
            put = {"Put": {"TableName": self._tables.control, "Item": item}}
            if not self._written([self._leading(apply, 0), put], apply):
                raise StateUnavailable

    def _put_names(self, name: str, targets: set[RevocationTarget], apply: _Apply) -> None:
        """Note what may be written, while we lead, so that a later apply finds all that may exist."""
        names = json.dumps(
            [[target.scope, target.id] for target in sorted(targets, key=lambda one: (one.scope, one.id))]
        )
        items = policy_texts.chunks(name, names)
        puts = [{"Put": {"TableName": self._tables.control, "Item": item}} for item in items]
        if not self._written([self._leading(apply, 0), *puts], apply):
            raise StateUnavailable


def named(tables: Tables) -> set[RevocationTarget]:
    """Return all targets that the policy in force names; raises Unavailable."""
    return _names(tables, f"names#{number(read_item(tables, _HEAD), 'version')}")


def _names(tables: Tables, name: str) -> set[RevocationTarget]:
    return {RevocationTarget(*one) for one in json.loads(policy_texts.read(tables, name) or "[]")}


def _phases(in_force: Mapping[RevocationTarget, str | None], wanted: Configs) -> list[list[RevocationTarget]]:
    """Return what must be written, in order: removals, narrowings, changes, additions."""
    phases: list[list[RevocationTarget]] = [[], [], [], []]
    for target, was in in_force.items():
        will = wanted.get(target)
        if was == will:
            continue
        if will is None:
            phases[0].append(target)
        elif was is None:
            phases[3].append(target)
        else:
            narrow = target.scope == "grant" and covers(stored.read_grant(was), stored.read_grant(will))
            phases[1 if narrow else 2].append(target)
    return phases


def _lead(lane: int) -> dict[str, Any]:
    return {"pk": {"S": f"policy#lead#{lane}"}, "sk": {"S": "-"}}
