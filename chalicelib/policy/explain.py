"""Explain which grants admit some claims, and replay recorded claims against a changed policy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib import principal
from chalicelib.policy.compile import Policy
from chalicelib.policy.grants import Difference, Grant, differences
from chalicelib.principal import AWS, RefusedValues
from chalicelib.tokens.jws import unverified_issuer


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one grant decides on some claims: it admits them if nothing differs."""

    grant: str
    key: str
    differences: tuple[Difference, ...]

    @property
    def admitted(self) -> bool:
        """Whether the grant admits the claims."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers, including what the grant asks for: only administrators see it."""
        differing = [one.to_json() for one in self.differences]
        return {"grant": self.grant, "key": self.key, "admitted": self.admitted, "differences": differing}


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a policy decides on some claims."""

    issuer: str | None
    """Its name in the policy, `aws`, or None if it is not registered."""
    principal: str
    """The `sub` that a token would get; empty if nothing identifies the subject."""
    unusable: str
    """Why no grant at all can admit these claims, or ""."""
    verdicts: tuple[Verdict, ...]
    """The admitting grants first, then by the number of differences."""

    @property
    def admitted(self) -> tuple[str, ...]:
        """The grants that admit the claims."""
        return () if self.unusable else tuple(one.grant for one in self.verdicts if one.admitted)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {
            "issuer": self.issuer,
            "principal": self.principal,
            "unusable": self.unusable,
            "admitted": list(self.admitted),
            "grants": [one.to_json() for one in self.verdicts],
        }


def explain(policy: Policy, claims: Mapping[str, object], key: str | None = None) -> Explanation:
    """Return which grants of the policy admit these claims, and what differs for each of the others.

    claims: of a subject token, verified or not, or those that `AwsIdentity.claims` gives. key: only grants for it.
    """
    if "aws" in claims and "iss" not in claims:
        verdicts = _verdicts([one for one in policy.grants.values() if one.issuer == AWS], claims, (), key)
        return Explanation(AWS, str(claims["aws"]), "", verdicts)
    url = unverified_issuer(claims)
    issuer = next((one for one in policy.issuers.values() if one.url == url), None)
    if issuer is None:
        return Explanation(None, "", f"issuer {url!r} is not registered", ())
    stable_id = principal.stable_id(issuer.identity, claims)
    missing = [name for name in issuer.required if claims.get(name) in (None, "")]
    unusable = f"claims missing: {', '.join(missing)}" if missing else ""
    if stable_id is None:
        unusable = unusable or f"nothing identifies the subject ({issuer.identity.name})"
    elif claims.get("aud") is not None and not any(claims["aud"] in (one, [one]) for one in issuer.audiences):
        unusable = unusable or f"aud is {claims['aud']!r}, not {' or '.join(map(repr, issuer.audiences))}"
    candidates = [one for one in policy.grants.values() if one.issuer == issuer.url]
    sub = principal.sub(issuer.url, stable_id) if stable_id else ""
    return Explanation(issuer.name, sub, unusable, _verdicts(candidates, claims, issuer.refused, key))


@dataclass(frozen=True, slots=True)
class Change:
    """What a changed policy means for one recorded set of claims: the grants for its key before and after."""

    principal: str
    key: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {"principal": self.principal, "key": self.key, "before": list(self.before), "after": list(self.after)}


@dataclass(frozen=True, slots=True)
class Replay:
    """What would change for recorded sets of claims."""

    tried: int
    """How many distinct sets were compared: sets that differ in nothing that the policies look at are one."""
    newly_admitted: tuple[Change, ...]
    """No grant admitted these before."""
    newly_refused: tuple[Change, ...]
    """No grant would admit these any more."""
    newly_ambiguous: tuple[Change, ...]
    """One grant admitted these and several would, so that callers who name none would be refused."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {
            "tried": self.tried,
            "newly_admitted": [one.to_json() for one in self.newly_admitted],
            "newly_refused": [one.to_json() for one in self.newly_refused],
            "newly_ambiguous": [one.to_json() for one in self.newly_ambiguous],
        }


def replay(before: Policy, after: Policy, recorded: Iterable[tuple[str, Mapping[str, object]]]) -> Replay:
    """Compare two policies over recorded claims. recorded: key and verified claims, as the audit trail has them."""
    changes: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], Change] = {}
    tried: set[tuple[str, str]] = set()
    looked_at = _looked_at(before) | _looked_at(after)
    for key, claims in recorded:
        one = key, json.dumps({name: claims[name] for name in sorted(looked_at & claims.keys())}, sort_keys=True)
        if one in tried:
            continue
        tried.add(one)
        old, new = explain(before, claims, key), explain(after, claims, key)
        sub = new.principal or old.principal
        changes[sub, key, old.admitted, new.admitted] = Change(sub, key, old.admitted, new.admitted)
    found = sorted(changes.values(), key=lambda one: (one.principal, one.key))
    return Replay(
        len(tried),
        newly_admitted=tuple(one for one in found if one.after and not one.before),
        newly_refused=tuple(one for one in found if one.before and not one.after),
        newly_ambiguous=tuple(one for one in found if len(one.before) == 1 < len(one.after)),
    )


def _looked_at(policy: Policy) -> set[str]:
    """Return the names of the claims that `explain` looks at under this policy."""
    names = {"iss", "aud", "aws"}
    for grant in policy.grants.values():
        names |= {path[0] for path, _ in grant.claims}
    for issuer in policy.issuers.values():
        names |= {path[0] for path in issuer.identity.paths} | set(issuer.required)
        names |= {claim for claim, _ in issuer.refused}
    return names


def _verdicts(
    grants: Sequence[Grant],
    claims: Mapping[str, object],
    refused: RefusedValues,
    key: str | None,
) -> tuple[Verdict, ...]:
    rules = tuple(refused)
    found = [Verdict(one.name, one.key, differences(one, claims, rules)) for one in grants if key in (None, one.key)]
    return tuple(sorted(found, key=lambda one: (len(one.differences), one.grant)))
