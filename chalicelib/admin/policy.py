"""The administrators' door's answers about the policy."""

from __future__ import annotations

import re

from chalicelib.admin import policy_service as administer
from chalicelib.admin import query as admin_query
from chalicelib.errors import Refusal
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import ADMIN_BODY_LIMIT, Answer, Arrival, Ports


def policy(arrival: Arrival, ports: Ports) -> Answer:
    """Answer the policy in force, as it was sent, with its version as ETag."""
    arrival.administrator()
    admin_query.read(arrival)
    now = ports.policies.current()
    body = {"version": now.version, "text": now.text, "author": now.author, "at": now.at}
    return Answer(body, headers={"etag": f'"{now.version}"'})


def apply_policy(arrival: Arrival, ports: Ports) -> Answer:
    """Put a policy in force in place of the version that If-Match names (RFC 9110 section 13.1.1)."""
    author = arrival.administrator()
    dry_run = admin_query.read(arrival, "dry_run").flag("dry_run")
    match = re.fullmatch(r'"(\d{1,9})"', arrival.headers.get("if-match", ""), re.ASCII)
    if match is None:
        text = 'send If-Match with the ETag of the policy that you planned against ("0" for none)'
        raise Refusal("if_match_missing", "precondition_required", 428, text)
    sent, expected = administer.read(arrival.json(ADMIN_BODY_LIMIT)), int(match[1])
    if dry_run:
        planned = administer.rehearsed(sent, expected, ports.policies, ports.rules)
        return Answer({"dry_run": True, **planned}, headers={"etag": f'"{expected}"'})
    event = arrival.event(ports, "policy.applied", file=sent.file[:200], replaces=match[1])
    stored = administer.apply(sent, expected, ports.policies, ports.rules, event)
    body = {"version": stored.version, "author": author, "at": stored.at}
    return Answer(body, headers={"etag": f'"{stored.version}"'})


def validate(arrival: Arrival, ports: Ports) -> Answer:
    """Say whether a policy parses and passes lint."""
    arrival.administrator()
    admin_query.read(arrival)
    parsed = administer.validate(administer.read(arrival.json(ADMIN_BODY_LIMIT)), ports.rules)
    counts = {"keys": len(parsed.keys), "issuers": len(parsed.issuers), "grants": len(parsed.grants)}
    return Answer({"valid": True, **counts})


def plan(arrival: Arrival, ports: Ports) -> Answer:
    """Say what applying a policy would change."""
    arrival.administrator()
    admin_query.read(arrival)
    sent = administer.read(arrival.json(ADMIN_BODY_LIMIT))
    planned = administer.planned(sent, ports.policies, ports.rules)
    return Answer(planned, headers={"etag": f'"{planned["version"]}"'})


def explain(arrival: Arrival, ports: Ports) -> Answer:
    """Say which grants admit some claims, and what differs for each of the others."""
    arrival.administrator()
    admin_query.read(arrival)
    fields = arrival.json(BODY_LIMIT)
    return Answer(administer.explained(fields, ports.policies, ports.rules, ports.broker.keys, ports.clock()))


def replay(arrival: Arrival, ports: Ports) -> Answer:
    """Say what a policy would newly admit or refuse of what the audit has recorded."""
    arrival.administrator()
    admin_query.read(arrival)
    sent = administer.read(arrival.json(ADMIN_BODY_LIMIT))
    return Answer(administer.replayed(sent, ports.policies, ports.rules, ports.audit))
