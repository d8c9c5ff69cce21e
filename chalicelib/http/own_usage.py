"""The public door's view of a caller's own usage: who it is, and of which grant, its token alone says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.budget import BudgetUse
from chalicelib.edge import refusal as edge_refusal
from chalicelib.edge.decision import in_force
from chalicelib.edge.errors import InvalidToken, TokenMissing
from chalicelib.edge.state import Snapshot
from chalicelib.edge.token import VerifiedToken
from chalicelib.errors import Refusal
from chalicelib.exchange.exchange import Broker
from chalicelib.exchange.ledger import StateQuery
from chalicelib.http.errors import QueryNotTaken
from chalicelib.http.messages import Request, Response
from chalicelib.http.ports import PublicPorts
from chalicelib.policy.grants import Grant
from chalicelib.quota import WINDOWS
from chalicelib.tokens import issued
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.usage import Use, window_start

_SHOWN = ("hour", "day")
_COUNTS = ("calls", "refused_calls", "tokens", "refused_tokens", "models", "last_seen")


def get_own_usage(request: Request, ports: PublicPorts) -> Response:
    """Answer what the token's principal did under its grant in this hour and day, and what is left of its limits.

    A token that the edge would refuse for every call is refused here in the same words. Nothing is counted or recorded.
    """
    # SECURITY: a query could name someone, or hold the token (test_a_query_is_not_taken).
    if request.query:
        raise QueryNotTaken
    now = ports.clock()
    try:
        token, key = _verify(request.headers.get("authorization", ""), ports.broker, now)
        grant = _grant(token, key, ports.broker, now)
    except Refusal as refusal:
        raise refusal.with_context(headers=edge_refusal.challenge(refusal)) from refusal
    # SECURITY: whose numbers are read is the verified token's word, and no part of the request's
    # (test_nobody_else_s_numbers).
    uses = ports.usage.own(token.principal, token.grant, now)
    body = {
        "principal": token.principal,
        "grant": token.grant,
        "key": key,
        "at": now,
        "expires": token.expires,
        "usage": [_use(window, uses[window], now) for window in _SHOWN],
        "limits": list(_limits(grant, uses, now)),
    }
    return Response(body, headers={"cache-control": "no-store"})


def _verify(authorization: str, broker: Broker, now: int) -> tuple[VerifiedToken, str]:
    """Return what the token says, and the name of its key; raises TokenMissing, InvalidToken, Unavailable."""
    scheme, _, unverified_token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not unverified_token.strip():
        raise TokenMissing
    try:
        claims, kid = issued.verify(unverified_token.strip(), broker.url, None, broker.signing_keys, now)
    except InvalidTokenError as invalid:
        raise InvalidToken(invalid.reason) from None
    return VerifiedToken.from_claims(claims, kid), str(claims["aud"])


def _grant(token: VerifiedToken, key: str, broker: Broker, now: int) -> Grant:
    """Return the token's grant as it is now, if the edge would not refuse every call of the token; raises Refusal."""
    about = {"key": key, "grant": token.grant, "principal": token.principal, "jti": token.jti}
    targets = token.targets(key)
    asked = tuple(target for scope, target in targets.items() if scope != "grant")
    found = broker.ledger.find(StateQuery(asked, token.issuer, key, token.grant, now))
    grants = [grant for grant, _ in found.grants or ()]
    snapshot = Snapshot(
        {scope: found.states[target] for scope, target in targets.items()},
        {},
        grant=grants[0] if grants else None,
        key=found.key,
        signing_keys=found.signing_keys,
    )
    try:
        # SECURITY: the edge's own rule, so that both refuse alike (test_what_the_edge_refuses_is_refused).
        _, grant = in_force(key, token, snapshot, now)
    except Refusal as refusal:
        raise refusal.with_context(about=about) from refusal
    return grant


def _use(window: str, use: Use, now: int) -> dict[str, Any]:
    start, told = window_start(window, now), use.to_json()
    return {"window": window, "start": start, "end": start + WINDOWS[window], **{name: told[name] for name in _COUNTS}}


def _limits(grant: Grant, uses: Mapping[str, Use], now: int) -> Iterator[dict[str, Any]]:
    """Yield how each limit of one principal stands. Those of all callers together are not one caller's to see."""
    for what, limits in (("calls", grant.call_limits), ("tokens", grant.token_limits)):
        for one in limits:
            yield _limit(what, one.window, one.count, BudgetUse(getattr(uses[one.window], what), 0), now)
    for limit in grant.budgets:
        if not limit.shared:
            used_up = uses[limit.window].budgets.get(limit.what, BudgetUse(0, 0))
            yield _limit(limit.what, limit.window, limit.amount, used_up, now)


def _limit(what: str, window: str, amount: int, taken: BudgetUse, now: int) -> dict[str, Any]:
    return {
        "what": what,
        "window": window,
        "limit": amount,
        "used": taken.used,
        "reserved": taken.reserved,
        "left": max(0, amount - taken.used - taken.reserved),
        "resets": window_start(window, now) + WINDOWS[window],
    }
