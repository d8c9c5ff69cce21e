"""Whom a revocation would cut off: who holds live tokens of what it takes back, and how much they call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.admin import audit_pages
from chalicelib.audit import PAGE_LIMIT, Audit, Event, Query
from chalicelib.errors import Refusal
from chalicelib.revocation import MUST_EXIST, Revocations, RevocationTarget
from chalicelib.tokens.verify import TTL_CEILING
from chalicelib.usage import Usage

PAGES = 25
LOOKED_AT = PAGES * PAGE_LIMIT
"""Audit events that are looked at, the newest."""

_FILTERED = ("key", "grant", "principal")
"""Scopes that the audit can be filtered by."""


@dataclass(frozen=True, slots=True)
class Live:
    """The events of tokens that have not expired, newest first. complete: whether every event that could be was seen."""

    events: tuple[Event, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class CutOff:
    """A principal that would be cut off. grants: those that its live tokens are of, as are the calls."""

    principal: str
    name: str
    grants: tuple[str, ...]
    live_tokens: int
    calls_last_hour: int


@dataclass(frozen=True, slots=True)
class Impact:
    """Whom a revocation would cut off, who calls most first."""

    principals: tuple[CutOff, ...]
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


def of(target: RevocationTarget, revocations: Revocations, audit: Audit, usage: Usage, now: int) -> Impact:
    """Say whom revoking a thing at `now` would cut off; changes nothing.

    Raises Refusal `no_such_thing` for an issuer, key or grant that never was, as revoking it would; Unavailable.
    """
    if target.scope in MUST_EXIST and not revocations.exists(target):
        text = f"there is no {target.scope} of this name: {target.id[:100]!r}"
        raise Refusal("no_such_thing", "not_found", 404, text)
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
        cut_off.append(CutOff(principal, _name(events), grants, len(events), called))
    return Impact(tuple(sorted(cut_off, key=lambda one: (-one.calls_last_hour, one.principal))), live.complete)


def live_tokens(target: RevocationTarget, audit: Audit, now: int) -> Live:
    """Return the tokens issued for a thing that have not expired at `now`; raises Unavailable."""
    equals = {"kind": "token.issued"} | ({target.scope: target.id} if target.scope in _FILTERED else {})
    found: list[Event] = []
    complete = False
    for page in audit_pages.newest(audit, Query(equals, since=max(now - TTL_CEILING, 0)), PAGES):
        found += [event for event in page.events if event.expires > now and _concerns(target, event)]
        complete = not page.next
    return Live(tuple(found), complete)


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


def _name(events: Iterable[Event]) -> str:
    return next((event.principal_name for event in events if event.principal_name), "")
