"""Who holds a token may take it back (RFC 7009)."""

from __future__ import annotations

from chalicelib.audit import Event
from chalicelib.exchange.exchange import Broker
from chalicelib.revocation import Revocation, Revocations, detail
from chalicelib.tokens import issued as issued_tokens
from chalicelib.tokens.errors import InvalidTokenError


def revoke_own_token(
    unverified_token: str, broker: Broker, revocations: Revocations, now: int, request_id: str
) -> None:
    """Revoke a token of ours for good; anything else is passed over, as is a token that has expired.

    Raises Unavailable: it may still work, repeat the call. Taking back twice changes nothing.
    """
    try:
        claims, _ = issued_tokens.verify(unverified_token, broker.url, None, broker.signing_keys, now)
    except InvalidTokenError:
        return  # RFC 7009 section 2.2: the purpose, that it does not work, is met
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
