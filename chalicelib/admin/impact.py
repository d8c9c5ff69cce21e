"""Estimates whom a revocation would cut off: the principals with live tokens of its target, and how much they call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.admin import paging
from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from chalicelib.errors import NoSuchTarget
from chalicelib.revocation import MUST_EXIST, Revocations, RevocationTarget
from chalicelib.tokens.verify import TTL_CEILING
from chalicelib.usage import Usage

PAGES = 25
LOOKED_AT = PAGES * PAGE_LIMIT
"""How many audit events are read, the newest."""

_FILTERED = ("key", "grant", "principal")
"""Scopes that the audit can be filtered by."""


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """Tokens that have not expired, as the events of their issuance, newest first. complete: whether all were found."""

    events: tuple[Event, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class AffectedPrincipal:
    """A principal that would be cut off."""

    principal: str
    """Its `sub`."""
    name: str
    """What people call it; "" if that is not known."""
    grants: tuple[str, ...]
    """The grants of its live tokens."""
    live_tokens: int
    """How many of its tokens would stop working."""
    calls_last_hour: int
    """Its calls under these grants that were admitted in this minute and the 59 before."""


@dataclass(frozen=True, slots=True)
class Impact:
    """The principals that a revocation would cut off, those with most calls first. complete: whether all were found."""

    principals: tuple[AffectedPrincipal, ...]
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return {
            "dry_run": True,
            "principals": [asdict(one) for one in self.principals],
            "tokens": sum(one.live_tokens for one in self.principals),
            "calls_last_hour": sum(one.calls_last_hour for one in self.principals),
            "complete": self.complete,
        }


def estimate(target: RevocationTarget, revocations: Revocations, audit: Audit, usage: Usage, now: int) -> Impact:
    """Return whom revoking a target at `now` would cut off; changes nothing.

    Raises NoSuchTarget for an issuer, key or grant that never existed, as revoking it would; Unavailable.
    """
    if target.scope in MUST_EXIST and not revocations.exists(target):
        raise NoSuchTarget(*target)
    live = live_tokens(target, audit, now)
    pairs = {(event.principal, event.grant) for event in live.events}
    calls = usage.recent_calls(pairs, now) if pairs else {}
    by_principal: dict[str, list[Event]] = {}
    for event in live.events:
        by_principal.setdefault(event.principal, []).append(event)
    cut_off = []
    for principal, events in by_principal.items():
        grants = tuple(sorted({event.grant for event in events}))
        called = sum(calls.get((principal, grant), 0) for grant in grants)
        cut_off.append(AffectedPrincipal(principal, principal_name(events), grants, len(events), called))
    return Impact(tuple(sorted(cut_off, key=lambda one: (-one.calls_last_hour, one.principal))), live.complete)


def live_tokens(target: RevocationTarget, audit: Audit, now: int) -> LiveTokens:
    """Return the tokens issued for a target that have not expired at `now`; raises Unavailable."""
    equals = {"kind": "token.issued"} | ({target.scope: target.id} if target.scope in _FILTERED else {})
    found: list[Event] = []
    complete = False
    for page in paging.events(audit, Query(equals, since=max(now - TTL_CEILING, 0)), PAGES):
        found += [event for event in page.events if event.expires > now and _concerns(target, event)]
        complete = not page.next
    return LiveTokens(tuple(found), complete)


def _concerns(target: RevocationTarget, event: Event) -> bool:
    ids = {
        "everything": target.id,
        "issuer": event.issuer,
        "key": event.key,
        "grant": event.grant,
        "principal": event.principal,
        "token": event.jti,
    }
    return ids[target.scope] == target.id


def principal_name(events: Iterable[Event]) -> str:
    """Return what the newest event that says so calls a principal; "" if none does."""
    return next((event.principal_name for event in events if event.principal_name), "")
