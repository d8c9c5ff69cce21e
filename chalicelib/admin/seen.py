"""Whom an administrator means: a principal or a token that was seen, by its id, or a principal by its name.

A principal was seen if a revocation, a counter of today or yesterday (UTC), or an audit event names it; a token if it was
issued within the last hour, the longest that one lives, or was revoked. Each look reads a bounded number of pages.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from chalicelib.admin import activity, impact, paging
from chalicelib.admin.errors import NeverSeen, SeveralPrincipals
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import KINDS, PAGE_LIMIT, Query
from chalicelib.errors import Unavailable
from chalicelib.quota import WINDOWS
from chalicelib.revocation import RevocationTarget
from chalicelib.usage import UsageQuery, window_start

SUB_LIMIT = 1024
"""Bytes of a `sub` at most: every store can look up one of this size."""
_FILTERS = ("principal", "grant", "key", "kind")
_PAGES = 3
"""Pages of the audit that are read for one principal, and for names."""
_NEAREST = 5
_COMPARED = 2000
"""Principals that an unknown id is compared with, at most."""


def target(scope: str, wanted: str, ports: AdminPorts, now: int) -> str:
    """Return the id that is meant, for a principal or a token; any other scope's as it is.

    Raises NeverSeen, SeveralPrincipals, or Unavailable: whether it was seen cannot be told.
    """
    try:
        if scope == "token" and not _token_seen(wanted, ports, now):
            raise NeverSeen(f"no token with this jti was issued within the last hour: {wanted[:100]!r}")
        return _principal(wanted, ports, now) if scope == "principal" else wanted
    except Unavailable as unavailable:
        # SECURITY: a real principal can be revoked even while nothing can be listed (test_unseen_needs_no_look).
        text = "whether this was ever seen cannot be read just now: try again, or send unseen (--unseen) to revoke it unlooked"
        raise unavailable.with_context(description=text) from unavailable


def nothing_known(filters: Mapping[str, str], ports: AdminPorts) -> Mapping[str, list[str]]:
    """Return what a list that is empty says of its filters: as `unknown`, those that are for what never was.

    Otherwise a misspelt principal, grant or key would look like one that did nothing. Raises Unavailable.
    """
    now = ports.clock()
    names = [name for name, value in filters.items() if name in _FILTERS and not _ever_was(name, value, ports, now)]
    return {"unknown": names} if names else {}


def _ever_was(scope: str, wanted: str, ports: AdminPorts, now: int) -> bool:
    if scope == "principal":
        return principal_seen(wanted, ports, now)
    if scope == "kind":
        return wanted in KINDS
    return can_be_looked_up(wanted) and ports.revocations.exists(RevocationTarget(scope, wanted))


def principal_seen(sub: str, ports: AdminPorts, now: int) -> bool:
    """Whether a principal was ever seen, or the audit is too long to be sure that it was not; raises Unavailable."""
    if not _has_form(sub):
        return False
    if ports.revocations.exists(RevocationTarget("principal", sub)):
        return True
    today = window_start("day", now)
    if any(activity.uses_by(ports.usage, sub, "day", start) for start in (today, today - WINDOWS["day"])):
        return True
    query, after = Query({"principal": sub}, limit=1), ""
    for _ in range(_PAGES):
        page = ports.audit.page(query if not after else Query({"principal": sub}, limit=1, after=after))
        if page.events or not page.next:
            return bool(page.events)
        after = page.next
    return True


def can_be_looked_up(text: str) -> bool:
    """Whether a text is short enough for every store, and Unicode."""
    try:
        return len(text.encode()) <= SUB_LIMIT
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _has_form(sub: str) -> bool:
    """Whether a text can be a `sub` at all: an issuer's URL and an id, or an ARN."""
    return can_be_looked_up(sub) and ("|" in sub or sub.startswith("arn:"))


def _token_seen(jti: str, ports: AdminPorts, now: int) -> bool:
    one = RevocationTarget("token", jti)
    if not can_be_looked_up(jti):
        return False
    if ports.revocations.exists(one):
        return True
    live = impact.live_tokens(one, ports.audit, now)
    return bool(live.events) or not live.complete


def _principal(wanted: str, ports: AdminPorts, now: int) -> str:
    if principal_seen(wanted, ports, now):
        return wanted
    known, complete = _known(ports, now)
    named = sorted(sub for sub, name in known.items() if name == wanted)
    if len(named) > 1:
        raise SeveralPrincipals(wanted, named)
    if named and complete:
        return named[0]
    near = "; nearest: " + ", ".join(_nearest(wanted, known)) if known else ""
    raise NeverSeen(f"no principal of this id or name was ever seen: {wanted[:100]!r}{near}")


def _known(ports: AdminPorts, now: int) -> tuple[Mapping[str, str], bool]:
    """Return the names of the principals active today or yesterday or in the newest events, and whether all active were read."""
    found: dict[str, str] = {}
    complete = True
    for page in paging.events(ports.audit, Query(), 1):
        found |= {one.principal: one.principal_name for one in reversed(page.events) if one.principal}
    today = window_start("day", now)
    for start in (today - WINDOWS["day"], today):
        more = ""
        for uses in paging.uses(ports.usage, UsageQuery("day", start, limit=PAGE_LIMIT, models=False), activity.PAGES):
            found |= {one.principal: one.name or found.get(one.principal, "") for one in uses.uses}
            more = uses.next
        complete = complete and not more
    return found, complete


def _nearest(wanted: str, known: Mapping[str, str]) -> list[str]:
    """Return the known principals that are most like a text, by id or by name, as `id (name)`."""
    texts: dict[str, str] = {}
    for sub in list(known)[:_COMPARED]:
        texts |= {sub: sub} | ({known[sub]: sub} if known[sub] else {})
    named = [sub for sub, name in known.items() if name == wanted]
    near = [texts[one] for one in difflib.get_close_matches(wanted, texts, _NEAREST, 0.5)]
    subs = list(dict.fromkeys([*named, *near]))[:_NEAREST]
    return [f"{sub} ({known[sub]})" if known[sub] else sub for sub in subs] or ["none is like it"]
