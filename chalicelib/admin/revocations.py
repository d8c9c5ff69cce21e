"""The administrators' door's answers about what is taken back."""

from __future__ import annotations

import re
from dataclasses import replace

from chalicelib.admin import impact, revocation_request
from chalicelib.admin import query as admin_query
from chalicelib.admin.errors import IdempotencyKeyReused, NoSuchRevocation
from chalicelib.admin.ports import AdminPorts
from chalicelib.admin.query import Asked
from chalicelib.audit import PAGE_LIMIT
from chalicelib.errors import MalformedRequest
from chalicelib.exchange import request as token_request
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.revocation import SCOPES, Revocation, RevocationPage, Revocations, RevocationTarget, detail

PAGES = 5
"""Pages of revocations that are looked through for one that is answered."""
_ID = re.compile(r"[\x21-\x7e]{1,200}")


def revoke(request: Request, ports: AdminPorts) -> Response:
    """Take something back; answered once it is in force. With an Idempotency-Key, once however often it is asked for."""
    author = request.administrator()
    dry_run = admin_query.read(request, "dry_run").flag("dry_run")
    key = token_request.idempotency_key(request.headers.get("idempotency-key"))
    revocation_id = ports.new_id() if key is None else revocation_request.id_of(author, key)
    asked = revocation_request.read(request.json(BODY_LIMIT), revocation_id, author, ports.clock())
    if dry_run:
        target = RevocationTarget(asked.scope, asked.target)
        return Response(impact.estimate(target, ports.revocations, ports.audit, ports.usage, asked.at).to_json())
    event = ports.event(request, "revocation.made", **detail(asked))
    named = replace(event, principal=asked.target if asked.scope == "principal" else "")
    stored = ports.revocations.revoke(asked, named)
    if not stored.same_request(asked):
        raise IdempotencyKeyReused
    return Response(stored.to_json(), 201)


def restore(request: Request, ports: AdminPorts, revocation_id: str) -> Response:
    """End a revocation's block; tokens from before it stay dead."""
    author = request.administrator()
    dry_run = admin_query.read(request, "dry_run").flag("dry_run")
    if not _ID.fullmatch(revocation_id):
        raise NoSuchRevocation
    if dry_run:
        return _would_restore(ports, revocation_id)
    event = ports.event(request, "revocation.lifted", revocation=revocation_id)
    lifted = ports.revocations.restore(revocation_id, author, event)
    if lifted is None:
        raise NoSuchRevocation
    return Response(lifted.to_json())


def revocations(request: Request, ports: AdminPorts) -> Response:
    """Answer revocations, newest first; of single tokens only where they are asked for."""
    request.administrator()
    asked = admin_query.read(request, "scope", "in_force", "limit", "after")
    now = ports.clock()
    try:
        page = _listed(asked, ports.revocations, now)
    except ValueError:
        raise MalformedRequest("after must be the `next` of a page before") from None
    items = [{**one.to_json(), "in_force": one.in_force(now)} for one in page.revocations]
    return Response({"items": items, "next": page.next or None})


def _listed(asked: Asked, stored: Revocations, now: int) -> RevocationPage:
    scope, wanted, limit, after = (
        asked.one_of("scope", SCOPES),
        asked.flag("in_force"),
        asked.limit(),
        asked.text("after"),
    )
    found: list[Revocation] = []
    for _ in range(PAGES):
        page = stored.revocations(scope, after, PAGE_LIMIT)
        found += [one for one in page.revocations if wanted in (None, one.in_force(now))]
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
    blocks = ports.revocations.revocation_state(RevocationTarget(found.scope, found.target)).blocks
    others = any(one != revocation_id and (until is None or now < until) for one, until in blocks)
    return Response({"dry_run": True, **found.to_json(), "in_force": found.in_force(now), "still_blocked": others})
