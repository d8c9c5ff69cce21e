"""The administrators' views of revocations: list, revoke, restore."""

from __future__ import annotations

import re
from dataclasses import replace

from chalicelib.admin import impact, query, revocation_request, seen
from chalicelib.admin.errors import IdempotencyKeyReused, NoSuchRevocation
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import QueryParams
from chalicelib.audit import PAGE_LIMIT
from chalicelib.errors import Unavailable
from chalicelib.exchange import request as token_request
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.revocation import SCOPES, Revocation, RevocationPage, Revocations, RevocationTarget, detail

PAGES = 5
"""How many pages of revocations are read for one page of the response."""
_ID = re.compile(r"[\x21-\x7e]{1,200}")


def revoke(request: Request, ports: AdminPorts) -> Response:
    """Revoke something; the response means that it is in force. With an Idempotency-Key, a repeated request revokes once."""
    author = request.administrator()
    dry_run = query.dry_run(request)
    key = token_request.idempotency_key(request.idempotency_key)
    revocation_id = ports.new_id() if key is None else revocation_request.retry_id(author, key)
    fields = request.json(BODY_LIMIT)
    revocation = revocation_request.read(fields, revocation_id, author, ports.clock())
    if not revocation_request.is_unseen(fields):
        # SECURITY: a name or a misspelt id must not be answered "in force" (test_a_principal_that_was_never_seen).
        meant = seen.target(revocation.scope, revocation.target, ports, revocation.at)
        revocation = revocation._replace(target=meant)
    if dry_run:
        target = RevocationTarget(revocation.scope, revocation.target)
        return Response(impact.estimate(target, ports.revocations, ports.audit, ports.usage, revocation.at).to_json())
    event = ports.event(request, "revocation.made", **detail(revocation))
    named = replace(event, principal=revocation.target if revocation.scope == "principal" else "")
    stored = ports.revocations.revoke(revocation, named)
    if not stored.same_request(revocation):
        raise IdempotencyKeyReused
    return Response(stored.to_json(), 201)


def restore(request: Request, ports: AdminPorts, revocation_id: str) -> Response:
    """Restore what was revoked; tokens issued before the revocation stay invalid."""
    author = request.administrator()
    dry_run = query.dry_run(request)
    if not _ID.fullmatch(revocation_id):
        raise NoSuchRevocation
    if dry_run:
        return _would_restore(ports, revocation_id)
    event = ports.event(request, "revocation.lifted", revocation=revocation_id)
    restored = ports.revocations.restore(revocation_id, author, event)
    if restored is None:
        raise NoSuchRevocation
    before = (restored.lifted_at, restored.lifted_by) != (event.at, author)
    try:
        still: bool | None = _others_block(ports, restored, event.at)
    except Unavailable:
        still = None  # it is restored all the same
    return Response({**restored.to_json(), "already_restored": before, "still_blocked": still})


def list_revocations(request: Request, ports: AdminPorts) -> Response:
    """Answer revocations, newest first; those of single tokens only with `scope=token`."""
    request.administrator()
    params = query.read(request, "scope", "in_force", "limit", "after")
    now = ports.clock()
    with query.checking_cursor():
        page = _page(params, ports.revocations, now)
    items = [{**one.to_json(), "in_force": one.in_force(now)} for one in page.revocations]
    return Response({"items": items, "next": page.next or None})


def _page(params: QueryParams, stored: Revocations, now: int) -> RevocationPage:
    """Return a page of the revocations that the query asks for; raises ValueError for a cursor that was not made here."""
    scope, in_force = params.one_of("scope", SCOPES), params.flag("in_force")
    limit, after = params.limit(), params.text("after")
    found: list[Revocation] = []
    for _ in range(PAGES):
        page = stored.revocations(scope, after, PAGE_LIMIT)
        found += [one for one in page.revocations if in_force in (None, one.in_force(now))]
        after = page.next
        if len(found) > limit:
            return RevocationPage.from_newest(found, limit)
        if not after:
            break
    return RevocationPage(tuple(found), after)


def _would_restore(ports: AdminPorts, revocation_id: str) -> Response:
    now, found = ports.clock(), ports.revocations.revocation(revocation_id)
    if found is None:
        raise NoSuchRevocation
    others = _others_block(ports, found, now)
    return Response({"dry_run": True, **found.to_json(), "in_force": found.in_force(now), "still_blocked": others})


def _others_block(ports: AdminPorts, one: Revocation, now: int) -> bool:
    """Whether another revocation blocks the same target; raises Unavailable."""
    blocks = ports.revocations.revocation_state(RevocationTarget(one.scope, one.target)).blocks
    return any(other != one.id and (until is None or now < until) for other, until in blocks)
