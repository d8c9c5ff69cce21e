"""Who may have what, and how much: grants, and how verified claims are matched with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib import patterns
from chalicelib.errors import Refusal
from chalicelib.quota import Limit

CANDIDATES = 100
"""Grants of one issuer and key that are tried unnamed; with more, the caller has to name the grant."""

Wanted = tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """One trust rule. claims: path of the claim -> accepted values (any of). ttl: seconds.

    scope: `METHOD:/path` patterns. token_limits, call_limits: for each principal.
    """

    name: str
    key: str
    issuer: str
    claims: tuple[tuple[tuple[str, ...], Wanted], ...]
    scope: tuple[str, ...]
    ttl: int
    token_limits: tuple[Limit, ...]
    call_limits: tuple[Limit, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Grant:
        """Read the stored form back."""
        return cls(
            name=stored["name"],
            key=stored["key"],
            issuer=stored["issuer"],
            claims=tuple((tuple(path), tuple(values)) for path, values in stored["claims"]),
            scope=tuple(stored["scope"]),
            ttl=stored["ttl"],
            token_limits=tuple(Limit(**one) for one in stored["token_limits"]),
            call_limits=tuple(Limit(**one) for one in stored["call_limits"]),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """Why a grant does not admit claims: the first claim that differs, and what the caller has there (None: absent)."""

    grant: str
    claim: tuple[str, ...]
    found: object

    def for_caller(self) -> str:
        """Say it to the caller, quoting the caller's own value and nothing of the grant but its name."""
        name = ".".join(self.claim)
        found = f"is {self.found!r}" if self.found is not None else "is missing"
        return f"grant {self.grant!r}: your claim {name!r} {found}"[:300]


def difference(
    grant: Grant, claims: Mapping[str, object], refused: Iterable[tuple[str, tuple[str, ...]]]
) -> Difference | None:
    """Return the first claim of the grant that these verified claims do not meet, or None if all are met.

    refused: claim -> values that count as not met unless the grant lists that very value.
    """
    if not grant.claims:  # a grant without claims does not parse; should one be stored all the same, it admits nobody
        return Difference(grant.name, (), None)
    for path, wanted in grant.claims:
        found = _look_up(path, claims)
        if not any(_meets(value, found) for value in wanted):
            return Difference(grant.name, path, found)
    listed = dict(grant.claims)
    for claim, values in refused:
        found = claims.get(claim)
        if found in values and found not in listed.get((claim,), ()):
            return Difference(grant.name, (claim,), found)
    return None


def choose(
    grants: Sequence[Grant],
    claims: Mapping[str, object],
    refused: Iterable[tuple[str, tuple[str, ...]]],
    audience: str,
) -> Grant:
    """Return the one grant that admits the claims.

    Raises Refusal `no_grant` (its text names the nearest grant and the claim that differs) or `several_grants`.
    """
    rules = tuple(refused)
    differences = {grant.name: difference(grant, claims, rules) for grant in grants}
    admitting = [grant for grant in grants if differences[grant.name] is None]
    if len(admitting) > 1:
        names = ", ".join(sorted(grant.name for grant in admitting))
        raise Refusal("several_grants", "invalid_request", 400, f"several grants match ({names}): name one as `grant`")
    if not admitting:
        raise Refusal("no_grant", "invalid_target", 400, _no_grant(audience, grants, differences, claims))
    return admitting[0]


def narrow(grant: Grant, requested: frozenset[str] | None) -> tuple[str, ...]:
    """Return the scope to put into a token: what was asked for, all of it within the grant, or the grant's own."""
    if requested is None:
        return grant.scope
    beyond = [one for one in sorted(requested) if not patterns.covered([one], grant.scope)]
    if beyond:
        raise Refusal("scope_beyond_grant", "invalid_scope", 400, f"beyond the grant: {' '.join(beyond)}"[:300])
    return tuple(sorted(requested))


def _no_grant(
    audience: str,
    grants: Sequence[Grant],
    differences: Mapping[str, Difference | None],
    claims: Mapping[str, object],
) -> str:
    text = f"no grant admits this identity for {audience!r}"
    met = {
        grant.name: sum(any(_meets(one, _look_up(path, claims)) for one in wanted) for path, wanted in grant.claims)
        for grant in grants
    }
    nearest = max(grants, key=lambda grant: met[grant.name], default=None)
    differs = differences[nearest.name] if nearest else None
    return f"{text}; nearest is {differs.for_caller()}" if differs else text


def _look_up(path: Sequence[str], claims: Mapping[str, object]) -> object:
    found: object = claims
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def _meets(wanted: str | int | bool, found: object) -> bool:  # noqa: FBT001  a claim's value, not a switch
    # SECURITY: types are compared first, for True == 1 in Python (test_types_are_never_coerced).
    if type(wanted) is not type(found):
        return False
    return patterns.matches(wanted, found) if isinstance(wanted, str) and isinstance(found, str) else wanted == found
