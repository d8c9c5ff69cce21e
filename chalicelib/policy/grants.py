"""Who may have what, and how much: grants, and how verified claims are matched with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from chalicelib.budget import BudgetLimit
from chalicelib.policy import accepted_values
from chalicelib.policy.accepted_values import AcceptedValues, Contains, elements, lists, meets
from chalicelib.policy.errors import NoGrant, ScopeBeyondGrant, SeveralGrants
from chalicelib.principal import RefusedValues, look_up
from chalicelib.providers import paths
from chalicelib.providers.entry import Provider
from chalicelib.providers.presets import PROVIDERS
from chalicelib.quota import Limit

CANDIDATES = 100
"""Grants of one issuer and key that are tried unnamed; with more, the caller has to name the grant."""

_UNKNOWN = PROVIDERS["generic"]


class Grant(NamedTuple):
    """One trust rule: who may use a key, for what, and how much."""

    name: str
    key: str
    """The name of the key that it opens."""
    issuer: str
    """The URL of the issuer whose principals it admits."""
    claims: tuple[tuple[tuple[str, ...], AcceptedValues], ...]
    """Path of a claim and the values accepted there, any of them; every claim must match."""
    scope: tuple[str, ...]
    """`METHOD:/path` patterns."""
    ttl: int
    """Seconds that its tokens live."""
    token_limits: tuple[Limit, ...]
    """Tokens, for each principal."""
    call_limits: tuple[Limit, ...]
    """Calls, for each principal."""
    total_limits: tuple[Limit, ...] = ()
    """Calls of all its principals together."""
    models: tuple[str, ...] | None = None
    """Patterns of the models that calls may name, None for any."""
    source_ips: tuple[str, ...] | None = None
    """Networks that calls may come from, None for any."""
    budgets: tuple[BudgetLimit, ...] = ()
    """What models may take, for each principal and, shared, for all of them together; empty: they are not looked at."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store."""
        limits = ("token_limits", "call_limits", "total_limits")
        claims = tuple((path, tuple(map(accepted_values.to_json, values))) for path, values in self.claims)
        of_limits = {name: tuple(asdict(one) for one in getattr(self, name)) for name in limits}
        found = {**self._asdict(), "claims": claims, **of_limits}
        # What has none is stored as it was before there were any: a change of its text would be a change of the grant.
        budgets = {"budgets": tuple(one._asdict() for one in self.budgets)} if self.budgets else {}
        return {**{name: value for name, value in found.items() if name != "budgets"}, **budgets}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Grant:
        """Read the stored form back."""
        return cls(
            name=stored["name"],
            key=stored["key"],
            issuer=stored["issuer"],
            claims=tuple(
                (tuple(path), tuple(map(accepted_values.from_json, values))) for path, values in stored["claims"]
            ),
            scope=tuple(stored["scope"]),
            ttl=stored["ttl"],
            token_limits=tuple(Limit(**one) for one in stored["token_limits"]),
            call_limits=tuple(Limit(**one) for one in stored["call_limits"]),
            total_limits=tuple(Limit(**one) for one in stored["total_limits"]),
            models=None if stored["models"] is None else tuple(stored["models"]),
            source_ips=None if stored["source_ips"] is None else tuple(stored["source_ips"]),
            budgets=tuple(BudgetLimit(**one) for one in stored.get("budgets", ())),
        )


class Difference(NamedTuple):
    """A claim that a grant wants otherwise. found: what the caller has there, None if it is missing."""

    claim: tuple[str, ...]
    wanted: AcceptedValues
    found: object

    @property
    def hint(self) -> str:
        """Why no value of this kind could be accepted, or "": a list where the grant wants a value, or the reverse."""
        wants_lists = {isinstance(one, Contains) for one in self.wanted}
        if isinstance(self.found, list):
            return "a list: a grant matches it with {contains: VALUE}" if wants_lists == {False} else ""
        return (
            "no list: a grant matches it without `contains`" if wants_lists == {True} and self.found is not None else ""
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers; `hint` is there only if there is one."""
        wanted = list(map(accepted_values.to_json, self.wanted))
        found = {"claim": list(self.claim), "wanted": wanted, "found": self.found}
        return {**found, "hint": self.hint} if self.hint else found

    def for_caller(self) -> str:
        """Say it to the caller, quoting the caller's own value and nothing of the grant."""
        name = ".".join(self.claim)
        text = "is missing" if self.found is None else f"is {self.found!r}"[:200]
        return f"your claim {name!r} {text}" + (f" ({self.hint})" if self.hint else "")


def differences(grant: Grant, claims: Mapping[str, object], refused: RefusedValues) -> tuple[Difference, ...]:
    """Return every claim of the grant that these verified claims do not meet; none means that it admits them.

    refused: claim -> values that count as not met, also as one of a list, unless the grant lists that very value.
    """
    if not grant.claims:  # such a grant does not parse; if one were stored all the same, it admits nobody
        return (Difference((), (), None),)
    found = [(path, wanted, look_up(path, claims)) for path, wanted in grant.claims]
    unmet = [Difference(*one) for one in found if not any(meets(value, one[2]) for value in one[1])]
    listed = dict(grant.claims)
    for claim, values in refused:
        value, accepted = claims.get(claim), listed.get((claim,), ())
        # SECURITY: in a list, too, of which a grant sees one element only (test_a_refused_value_in_a_list).
        bad = [one for one in elements(value) if lists(values, one, in_list=False)]
        if not all(lists(accepted, one, in_list=isinstance(value, list)) for one in bad):
            unmet.append(Difference((claim,), (), value))
    return tuple(unmet)


def choose(
    grants: Sequence[Grant],
    claims: Mapping[str, object],
    refused: RefusedValues,
    audience: str,
) -> Grant:
    """Return the one grant that admits the claims.

    Raises NoGrant (its text names the nearest grant and the claim that differs) or SeveralGrants.
    """
    rules = tuple(refused)
    unmet = {grant.name: differences(grant, claims, rules) for grant in grants}
    admitting = sorted(name for name, found in unmet.items() if not found)
    if len(admitting) > 1:
        raise SeveralGrants(admitting)
    if not admitting:
        raise NoGrant(_no_grant(audience, unmet))
    return next(grant for grant in grants if grant.name == admitting[0])


def narrow(grant: Grant, requested: frozenset[str] | None, provider: Provider = _UNKNOWN) -> tuple[str, ...]:
    """Return the scope to put into a token: what was asked for, all of it within the grant, or the grant's own.

    provider: of the grant's key.
    """
    if requested is None:
        return grant.scope
    beyond = [one for one in sorted(requested) if not paths.scope_within(one, grant.scope, provider)]
    if beyond:
        raise ScopeBeyondGrant(beyond)
    return tuple(sorted(requested))


def _no_grant(audience: str, unmet: Mapping[str, tuple[Difference, ...]]) -> str:
    text = f"no grant admits this identity for {audience!r}"
    nearest = min(unmet, key=lambda name: (len(unmet[name]), name), default=None)
    if nearest is None:
        return text
    return f"{text}; nearest is {nearest!r}, where " + "; ".join(one.for_caller() for one in unmet[nearest][:3])
