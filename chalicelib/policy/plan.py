"""What applying a policy would change, and where the policy in force is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, Protocol

from chalicelib.audit import Event
from chalicelib.policy import narrowing
from chalicelib.policy.compile import Policy
from chalicelib.policy.coverage import covers
from chalicelib.policy.grants import Grant
from chalicelib.principal import RefusedValues


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """The policy in force. version: 0 before the first. text: as it was sent. at: epoch seconds."""

    version: int
    text: str
    author: str
    at: int


class AppliedPolicy(NamedTuple):
    """That a policy was put in force. author is "" and at 0 where that was not recorded."""

    version: int
    author: str
    at: int


VERSIONS: Final = 50
"""Versions that are listed at a time, at most."""


class Policies(Protocol):
    """Where the policy is kept, and those that were in force before it."""

    def versions(self, below: int, limit: int = VERSIONS) -> tuple[AppliedPolicy, ...]:
        """Return the versions below a number that were in force, the newest first, VERSIONS at most; raises Unavailable."""

    def version(self, number: int) -> StoredPolicy | None:
        """Return a version that is or was in force, None if there was none or it was removed since; raises Unavailable."""

    def current(self) -> StoredPolicy:
        """Return the policy in force; raises Unavailable."""

    def apply(self, policy: Policy, text: str, expected: int, event: Event) -> StoredPolicy:
        """Put a policy in force in place of version `expected`, with its event; blocks are kept.

        The epoch of a grant or issuer that may admit fewer identities goes up with it (`narrowing.epoch_rises`), in the
        transaction that narrows it; all other epochs are kept.
        Raises PolicyChanged (412) if another version is in force by now; Unavailable if nothing is; StateUncertain if it
        may be, wholly or in part: repeating the call finishes it.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """One change."""

    what: str
    """`key`, `issuer` or `grant`."""
    name: str
    """Its name in the policy."""
    change: str
    """`add`, `remove`, `narrow`, `widen` or `change`."""
    fields: Mapping[str, tuple[Any, Any]]
    """What differs: the old and the new value of each field, as JSON."""
    ends_tokens: bool = False
    """Whether the tokens issued so far end with it: it may admit fewer identities than before."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


def plan(before: Policy | None, after: Policy) -> tuple[Step, ...]:
    """Return what differs, removals and narrowings first: the order in which an apply writes it."""
    empty: Mapping[str, Any] = {}
    steps: list[Step] = []
    parts = (
        ("grant", before.grants if before else empty, after.grants),
        ("key", _keys(before) if before else empty, _keys(after)),
        ("issuer", before.issuers if before else empty, after.issuers),
    )
    refused = narrowing.refused_values(after)
    for what, old, new in parts:
        for name in sorted(old.keys() | new.keys()):
            step = _step(what, name, old.get(name), new.get(name), refused)
            if step:
                steps.append(step)
    order = {"remove": 0, "narrow": 1, "change": 2, "widen": 3, "add": 4}
    return tuple(sorted(steps, key=lambda one: (order[one.change], one.what, one.name)))


def _keys(policy: Policy) -> Mapping[str, Any]:
    return {name: policy.key(name) for name in policy.keys}


def _step(what: str, name: str, old: Any, new: Any, refused: Mapping[str, RefusedValues]) -> Step | None:  # noqa: ANN401  a Grant, an Issuer or a key
    was, will = _json(old), _json(new)
    fields = {
        field: (was.get(field), will.get(field))
        for field in sorted(was.keys() | will.keys())
        if _text(was.get(field)) != _text(will.get(field))
    }
    if not fields:
        return None
    if old is None or new is None:
        return Step(what, name, "add" if old is None else "remove", fields, new is None and what != "key")
    change = _change(old, new, refused.get(new.issuer, ())) if what == "grant" else "change"
    return Step(what, name, change, fields, _ends_tokens(what, old, new, refused))


def _ends_tokens(what: str, old: Any, new: Any, refused: Mapping[str, RefusedValues]) -> bool:  # noqa: ANN401  as `_step`
    if what == "grant":
        return narrowing.ends_grant(old, new, refused)
    return what == "issuer" and narrowing.ends_issuer(old, new)


def _change(old: Grant, new: Grant, refused: RefusedValues) -> str:
    if (old.issuer, old.key) != (new.issuer, new.key):
        return "change"
    wider, narrower = _within(new, old, refused), _within(old, new, refused)
    return "change" if wider == narrower else "widen" if wider else "narrow"


def _within(wide: Grant, narrow: Grant, refused: RefusedValues) -> bool:
    """Whether `wide` gives everything that `narrow` gives: to whom, what, for how long and how much."""
    limits = (
        (wide.token_limits, narrow.token_limits),
        (wide.call_limits, narrow.call_limits),
        (wide.total_limits, narrow.total_limits),
    )
    counts = [(most, {one.window: one.count for one in less}) for mosts, less in limits for most in mosts]
    limited = all(less.get(most.window, most.count + 1) <= most.count for most, less in counts)
    taking = {one._replace(amount=0): one.amount for one in narrow.budgets}
    limited = limited and all(taking.get(one._replace(amount=0), one.amount + 1) <= one.amount for one in wide.budgets)
    return limited and narrow.ttl <= wide.ttl and covers(wide, narrow, refused)


def _text(value: Any) -> str:  # noqa: ANN401  JSON
    # As text, for True == 1 in Python, and a plan that hid such a change would still end tokens.
    return json.dumps(value, sort_keys=True)


def _json(one: Any) -> Mapping[str, Any]:  # noqa: ANN401  a Grant, an Issuer or a key
    if one is None:
        return {}
    found: Mapping[str, Any] = one if isinstance(one, dict) else one.to_json()
    return found
