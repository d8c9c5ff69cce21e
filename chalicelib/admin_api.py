"""The administrators' door's answers: revocations, the audit, the policy, bound identities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from chalicelib import administer, aws_identity, revocation_request
from chalicelib.audit import FILTERS, PAGE_LIMIT, Query
from chalicelib.errors import Refusal
from chalicelib.http_api import ADMIN_BODY_LIMIT, Answer, Arrival, Ports, malformed
from chalicelib.revocation import detail
from chalicelib.token_request import BODY_LIMIT


def revoke(arrival: Arrival, ports: Ports) -> Answer:
    """Take something back; answered once it is in force."""
    author = arrival.administrator()
    asked = revocation_request.read(arrival.json(BODY_LIMIT), ports.new_id(), author, ports.clock())
    event = arrival.event(ports, "revocation.made", **detail(asked))
    ports.revocations.revoke(asked, replace(event, principal=asked.target if asked.scope == "principal" else ""))
    return Answer(asked.to_json(), 201)


def restore(arrival: Arrival, ports: Ports, revocation_id: str) -> Answer:
    """End a revocation's block; tokens from before it stay dead."""
    event = arrival.event(ports, "revocation.lifted", revocation=revocation_id[:64])
    lifted = ports.revocations.lift(revocation_id, arrival.administrator(), event)
    if lifted is None:
        raise Refusal("no_such_revocation", "not_found", 404, "there is no such revocation")
    return Answer(lifted.to_json())


def audit(arrival: Arrival, ports: Ports) -> Answer:
    """Answer events, newest first."""
    arrival.administrator()
    try:
        page = ports.audit.page(_query(arrival.query))
    except ValueError:
        raise malformed("after must be the `next` of a page before") from None
    return Answer({"items": [event.to_json() for event in page.events], "next": page.next or None})


def policy(arrival: Arrival, ports: Ports) -> Answer:
    """Answer the policy in force, as it was sent, with its version as ETag."""
    arrival.administrator()
    now = ports.policies.current()
    body = {"version": now.version, "text": now.text, "author": now.author, "at": now.at}
    return Answer(body, headers={"etag": f'"{now.version}"'})


def apply_policy(arrival: Arrival, ports: Ports) -> Answer:
    """Put a policy in force in place of the version that If-Match names (RFC 9110 section 13.1.1)."""
    author = arrival.administrator()
    match = re.fullmatch(r'"(\d{1,9})"', arrival.headers.get("if-match", ""), re.ASCII)
    if match is None:
        text = 'send If-Match with the ETag of the policy that you planned against ("0" for none)'
        raise Refusal("if_match_missing", "precondition_required", 428, text)
    sent = administer.read(arrival.json(ADMIN_BODY_LIMIT))
    event = arrival.event(ports, "policy.applied", file=sent.file[:200], replaces=match[1])
    stored = administer.apply(sent, int(match[1]), ports.policies, ports.dialect, event)
    body = {"version": stored.version, "author": author, "at": stored.at}
    return Answer(body, headers={"etag": f'"{stored.version}"'})


def validate(arrival: Arrival, ports: Ports) -> Answer:
    """Say whether a policy parses and passes lint."""
    arrival.administrator()
    parsed = administer.validate(administer.read(arrival.json(ADMIN_BODY_LIMIT)), ports.dialect)
    counts = {"keys": len(parsed.keys), "issuers": len(parsed.issuers), "grants": len(parsed.grants)}
    return Answer({"valid": True, **counts})


def plan(arrival: Arrival, ports: Ports) -> Answer:
    """Say what applying a policy would change."""
    arrival.administrator()
    sent = administer.read(arrival.json(ADMIN_BODY_LIMIT))
    planned = administer.planned(sent, ports.policies, ports.dialect)
    return Answer(planned, headers={"etag": f'"{planned["version"]}"'})


def explain(arrival: Arrival, ports: Ports) -> Answer:
    """Say which grants admit some claims, and what differs for each of the others."""
    arrival.administrator()
    fields = arrival.json(BODY_LIMIT)
    return Answer(administer.explained(fields, ports.policies, ports.dialect, ports.broker.keys, ports.clock()))


def replay(arrival: Arrival, ports: Ports) -> Answer:
    """Say what a policy would newly admit or refuse of what the audit has recorded."""
    arrival.administrator()
    sent = administer.read(arrival.json(ADMIN_BODY_LIMIT))
    return Answer(administer.replayed(sent, ports.policies, ports.dialect, ports.audit))


def pin(arrival: Arrival, ports: Ports, principal_id: str) -> Answer:
    """Bind an AWS principal's ARN to another unique id: the role was made again, and that is meant."""
    arrival.administrator()
    fields = arrival.json(BODY_LIMIT)
    unique_id = fields.get("unique_id") if isinstance(fields, Mapping) else None
    # A role's path is lost in its sessions: bound under an ARN that has it, the role would stay refused.
    arn = aws_identity.bindable(principal_id)
    if arn is None:
        raise Refusal(
            "no_such_principal", "not_found", 404, "only AWS roles and users, by their ARN, are bound to an id"
        )
    if not isinstance(unique_id, str) or not aws_identity.is_unique_id(unique_id, arn):
        raise malformed("unique_id must be the role's (AROA…) or the user's (AIDA…)")
    event = arrival.event(ports, "principal.pinned", unique_id=unique_id)
    ports.pins.pin(arn, unique_id, replace(event, principal=arn))
    return Answer({"principal": arn, "unique_id": unique_id})


def _query(parameters: Mapping[str, str]) -> Query:
    times = {name: parameters[name] for name in ("since", "until", "limit") if name in parameters}
    unknown = parameters.keys() - {*FILTERS, "since", "until", "limit", "after"}
    if unknown or not all(value.isascii() and value.isdecimal() and len(value) < 12 for value in times.values()):
        raise malformed(f"filters: {', '.join(FILTERS)}, since, until; and limit, after")
    return Query(
        equals={name: parameters[name] for name in FILTERS if name in parameters},
        since=int(times.get("since", 0)),
        until=int(times.get("until", 2**53)),
        after=parameters.get("after", ""),
        limit=min(int(times.get("limit", 50)) or 1, PAGE_LIMIT),
    )
