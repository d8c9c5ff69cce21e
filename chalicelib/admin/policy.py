"""The administrators' views of the policy."""

from __future__ import annotations

import re

from chalicelib.admin import policy_history, policy_service, query
from chalicelib.admin.errors import IfMatchMissing
from chalicelib.admin.ports import AdminPorts
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import ADMIN_BODY_LIMIT, Request, Response


def get_policy(request: Request, ports: AdminPorts) -> Response:
    """Answer the policy in force, or one that was, as it was sent, with its version as ETag."""
    request.administrator()
    found = policy_history.named(query.read(request, "version", "at"), ports.policies)
    body = {"version": found.version, "text": found.text, "author": found.author, "at": found.at}
    return Response(body, headers={"etag": f'"{found.version}"'})


def apply_policy(request: Request, ports: AdminPorts) -> Response:
    """Apply a policy in place of the version that If-Match names (RFC 9110 section 13.1.1)."""
    author = request.administrator()
    dry_run = query.dry_run(request)
    match = re.fullmatch(r'"(\d{1,9})"', request.headers.get("if-match", ""), re.ASCII)
    if match is None:
        raise IfMatchMissing
    upload, expected = _upload(request), int(match[1])
    if dry_run:
        plan = policy_service.dry_run(upload, expected, ports.policies, ports.rules)
        return Response({"dry_run": True, **plan.to_json()}, headers={"etag": f'"{expected}"'})
    event = ports.event(request, "policy.applied", file=upload.file[:200], replaces=match[1])
    stored = policy_service.apply(upload, expected, ports.policies, ports.rules, event)
    body = {"version": stored.version, "author": author, "at": stored.at}
    return Response(body, headers={"etag": f'"{stored.version}"'})


def validate(request: Request, ports: AdminPorts) -> Response:
    """Answer how many keys, issuers and grants a policy has; a policy with faults or lint findings is refused."""
    request.administrator()
    query.read(request)
    parsed = policy_service.validate(_upload(request), ports.rules)
    counts = {"keys": len(parsed.keys), "issuers": len(parsed.issuers), "grants": len(parsed.grants)}
    return Response({"valid": True, **counts})


def plan(request: Request, ports: AdminPorts) -> Response:
    """Answer what applying a policy would change."""
    request.administrator()
    query.read(request)
    planned = policy_service.plan(_upload(request), ports.policies, ports.rules)
    return Response(planned.to_json(), headers={"etag": f'"{planned.version}"'})


def explain(request: Request, ports: AdminPorts) -> Response:
    """Answer which grants admit some claims, and for each of the others why it does not; now, or by a version that was in force."""
    request.administrator()
    found = policy_history.named(query.read(request, "version", "at"), ports.policies)
    fields = request.json(BODY_LIMIT)
    told = policy_service.explain(fields, found, ports.rules, ports.issuer_keys, ports.clock())
    return Response({"version": found.version, **told})


def replay(request: Request, ports: AdminPorts) -> Response:
    """Answer which recorded callers a policy would newly admit or refuse."""
    request.administrator()
    query.read(request)
    return Response(policy_service.replay(_upload(request), ports.policies, ports.rules, ports.audit, ports.clock))


def _upload(request: Request) -> policy_service.PolicyUpload:
    return policy_service.read(request.json(ADMIN_BODY_LIMIT))
