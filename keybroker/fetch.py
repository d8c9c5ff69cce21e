"""One token from the broker, with whatever identity is around: at most two requests, then an answer or an error."""

from __future__ import annotations

import random
import secrets
import time

from keybroker import advice, ambient, exchange
from keybroker.ambient import Identity
from keybroker.errors import BUSY, KeybrokerError, Refused, Unreachable
from keybroker.issued_token import Token
from keybroker.wish import Wish

PAUSE = (0.2, 0.8)
"""Seconds between the two requests, at least and at most."""
_LONGEST_ASKED_PAUSE = 5
"""Seconds of a Retry-After that are waited for here; who is told to wait longer is told so."""


def fetch(wish: Wish) -> Token:
    """Find an identity and exchange it; raises KeybrokerError, with advice.

    A network fault, a 5xx or a busy broker is tried once more with the same identity token and the same idempotency key, so that the
    broker sees a retry and no replay. A refusal is never tried again.
    """
    identity = ambient.find(wish.audience)
    idempotency_key = secrets.token_urlsafe(24)  # 192 bits
    try:
        try:
            return _ask(wish, identity, idempotency_key)
        except (Unreachable, Refused) as fault:
            pause = _pause(fault)
            if pause is None:
                raise
        time.sleep(pause)
        return _ask(wish, identity, idempotency_key)
    except KeybrokerError as fault:
        fault.advice = advice.about(fault, wish.url, identity)
        raise


def _ask(wish: Wish, identity: Identity, idempotency_key: str) -> Token:
    if identity.source == ambient.SIGNED:
        return exchange.exchange_signature(
            wish.url,
            wish.key,
            grant=wish.grant,
            scope=wish.scope,
            idempotency_key=idempotency_key,
            timeout=wish.timeout,
            region=wish.region,
        )
    return exchange.exchange_token(
        wish.url,
        identity.unverified_subject_token,
        wish.key,
        grant=wish.grant,
        scope=wish.scope,
        idempotency_key=idempotency_key,
        timeout=wish.timeout,
    )


def _pause(fault: KeybrokerError) -> float | None:
    """Return the seconds to wait before the second request, None if there must be none."""
    if isinstance(fault, Refused) and fault.status < 500 and fault.error != BUSY:
        return None
    asked = (fault.retry_after or 0) if isinstance(fault, Refused) else 0
    return None if asked > _LONGEST_ASKED_PAUSE else asked + random.uniform(*PAUSE)  # noqa: S311  no secret
