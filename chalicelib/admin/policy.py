"""The administrators' door's answers about the policy."""

from __future__ import annotations

import re

from chalicelib.admin import policy_service as administer
from chalicelib.admin import query as admin_query
from chalicelib.admin.errors import IfMatchMissing
from chalicelib.admin.ports import AdminPorts
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import ADMIN_BODY_LIMIT, Request, Response


def policy(request: Request, ports: AdminPorts) -> Response:
    """Answer the policy in force, as it was sent, with its version as ETag."""
    request.administrator()
    admin_query.read(request)
    now = ports.policies.current()
    body = {"version": now.version, "text": now.text, "author": now.author, "at": now.at}
    return Response(body, headers={"etag": f'"{now.version}"'})


def apply_policy(request: Request, ports: AdminPorts) -> Response:
    """Put a policy in force in place of the version that If-Match names (RFC 9110 section 13.1.1)."""
    author = request.administrator()
    dry_run = admin_query.read(request, "dry_run").flag("dry_run")
    match = re.fullmatch(r'"(\d{1,9})"', request.headers.get("if-match", ""), re.ASCII)
    if match is None:
        raise IfMatchMissing
    sent, expected = administer.read(request.json(ADMIN_BODY_LIMIT)), int(match[1])
    if dry_run:
        planned = administer.rehearsed(sent, expected, ports.policies, ports.rules)
        return Response({"dry_run": True, **planned}, headers={"etag": f'"{expected}"'})
    event = ports.event(request, "policy.applied", file=sent.file[:200], replaces=match[1])
    stored = administer.apply(sent, expected, ports.policies, ports.rules, event)
    body = {"version": stored.version, "author": author, "at": stored.at}
    return Response(body, headers={"etag": f'"{stored.version}"'})


def validate(request: Request, ports: AdminPorts) -> Response:
    """Say whether a policy parses and passes lint."""
    request.administrator()
    admin_query.read(request)
    parsed = administer.validate(administer.read(request.json(ADMIN_BODY_LIMIT)), ports.rules)
    counts = {"keys": len(parsed.keys), "issuers": len(parsed.issuers), "grants": len(parsed.grants)}
    return Response({"valid": True, **counts})


def plan(request: Request, ports: AdminPorts) -> Response:
    """Say what applying a policy would change."""
    request.administrator()
    admin_query.read(request)
    sent = administer.read(request.json(ADMIN_BODY_LIMIT))
    planned = administer.planned(sent, ports.policies, ports.rules)
    return Response(planned, headers={"etag": f'"{planned["version"]}"'})


def explain(request: Request, ports: AdminPorts) -> Response:
    """Say which grants admit some claims, and what differs for each of the others."""
    request.administrator()
    admin_query.read(request)
    fields = request.json(BODY_LIMIT)
    return Response(administer.explained(fields, ports.policies, ports.rules, ports.issuer_keys, ports.clock()))


def replay(request: Request, ports: AdminPorts) -> Response:
    """Say what a policy would newly admit or refuse of what the audit has recorded."""
    request.administrator()
    admin_query.read(request)
    sent = administer.read(request.json(ADMIN_BODY_LIMIT))
    return Response(administer.replayed(sent, ports.policies, ports.rules, ports.audit))
