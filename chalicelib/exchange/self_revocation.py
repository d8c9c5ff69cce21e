"""The holder of a token revokes it (RFC 7009)."""

from __future__ import annotations

from chalicelib.audit import Event
from chalicelib.exchange.exchange import Broker
from chalicelib.revocation import Revocation, Revocations, detail
from chalicelib.tokens import issued as issued_tokens
from chalicelib.tokens.errors import InvalidTokenError


def revoke_own_token(
    unverified_token: str, broker: Broker, revocations: Revocations, now: int, request_id: str
) -> None:
    """Revoke a token of ours for good; anything else is ignored, and so is an expired token.

    Raises Unavailable: it may still work, repeat the call. Revoking twice changes nothing.
    """
    try:
        claims, _ = issued_tokens.verify(unverified_token, broker.url, None, broker.signing_keys, now)
    except InvalidTokenError:
        return  # RFC 7009 section 2.2: an invalid token is already what the client wants it to be
    jti, sub = str(claims["jti"]), str(claims["sub"])
    revocation = Revocation.by_holder(jti, sub, now)
    event = Event(
        id=revocation.id,
        at=now,
        kind="revocation.made",
        request_id=request_id,
        principal=sub,
        key=str(claims["aud"]),
        grant=str(claims["grant"]),
        jti=jti,
        actor=sub,
        detail=detail(revocation),
    )
    revocations.revoke(revocation, event)
