"""The administrators' views of principals: the active ones, one of them, and the unique id that it is pinned to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.admin import activity, admitting, impact, live_tokens, probed, query, seen
from chalicelib.admin.errors import NoSuchPrincipal
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event, Query
from chalicelib.errors import MalformedRequest
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.http.messages import Request, Response
from chalicelib.issuers import aws as aws_identity
from chalicelib.quota import WINDOWS
from chalicelib.revocation import RevocationState, RevocationTarget
from chalicelib.usage import Usage, Use, window_start

EVENTS = 20
"""How many audit events of a principal are shown, the newest."""


def list_principals(request: Request, ports: AdminPorts) -> Response:
    """Answer the principals that were active today or yesterday (UTC)."""
    request.administrator()
    params = query.read(request, "limit", "after")
    with query.checking_cursor():
        page = activity.page(ports.usage, ports.clock(), params.text("after"), params.limit())
    items = [one.to_json() for one in page.principals if not probed.is_probe(one)]
    return Response({"items": items, "next": page.next or None})


def get_principal(request: Request, ports: AdminPorts, principal_id: str) -> Response:
    """Answer one principal: whether it is blocked, its activity today and this hour, its live tokens and newest events."""
    request.administrator()
    query.read(request)
    if not seen.can_be_looked_up(principal_id):
        raise NoSuchPrincipal
    now, target = ports.clock(), RevocationTarget("principal", principal_id)
    state = ports.revocations.revocation_state(target)
    today, hour = (_activity(ports.usage, principal_id, window, now) for window in ("day", "hour"))
    events = ports.audit.page(Query({"principal": principal_id}, limit=EVENTS)).events
    if not events and not today[1] and not state.epoch and not state.blocks:
        raise NoSuchPrincipal
    version, policy = admitting.in_force(ports)
    admits = admitting.of_principal(principal_id, policy, events, today[1], ports.audit) if policy else None
    live = live_tokens.of_principal(principal_id, policy, ports, now)
    return Response(
        {
            "principal": principal_id,
            "name": activity.display_name(today[1]) or impact.principal_name(events),
            "issuer": activity.issuer(principal_id),
            "standing": _standing(state, now),
            "today": today[0],
            "hour": hour[0],
            "admitting": {"version": version, "grants": admits},
            "live_tokens": [_token(event) for event in live.alive],
            "ended_tokens": live.ended,
            "complete": live.complete,
            "events": [event.to_json() for event in events],
        }
    )


def pin(request: Request, ports: AdminPorts, principal_id: str) -> Response:
    """Pin an AWS principal's ARN to another unique id, after the role or user was deliberately recreated."""
    request.administrator()
    dry_run = query.dry_run(request)
    fields = request.json(BODY_LIMIT)
    unique_id = fields["unique_id"] if isinstance(fields, Mapping) and fields.keys() == {"unique_id"} else None
    # A session's ARN lacks its role's path: pinned under an ARN with a path, the role would stay refused.
    arn = aws_identity.bindable(principal_id)
    if arn is None:
        raise NoSuchPrincipal("only an AWS role or user, named by its ARN, can be pinned")
    if not isinstance(unique_id, str) or not aws_identity.is_unique_id(unique_id, arn):
        raise MalformedRequest("the body must have one member, unique_id: the role's (AROA…) or the user's (AIDA…)")
    bound = {"principal": arn, "unique_id": unique_id}
    if dry_run:
        return Response({"dry_run": True, **bound})
    event = ports.event(request, "principal.pinned", unique_id=unique_id)
    ports.pins.pin(arn, unique_id, replace(event, principal=arn))
    return Response(bound)


def _activity(usage: Usage, sub: str, window: str, now: int) -> tuple[dict[str, Any], tuple[Use, ...]]:
    start = window_start(window, now)
    uses = activity.uses_by(usage, sub, window, start)
    kept = ("grant", "key", "tokens", "calls", "refused_tokens", "refused_calls", "last_seen")
    grants = [{name: use.to_json()[name] for name in kept} for use in uses]
    return {"start": start, "end": start + WINDOWS[window], "grants": grants}, uses


def _standing(state: RevocationState, now: int) -> dict[str, Any]:
    blocks = [{"revocation": one, "until": until} for one, until in state.blocks]
    return {"epoch": state.epoch, "blocked": state.blocked(now), "blocks": blocks}


def _token(event: Event) -> dict[str, Any]:
    return {"jti": event.jti, "grant": event.grant, "key": event.key, "at": event.at, "expires": event.expires}
