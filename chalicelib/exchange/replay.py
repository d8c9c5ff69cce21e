"""How a second use of a subject token is recognized, and a retry told from a replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.exchange.ledger import Lock
from chalicelib.exchange.request import TokenRequest


class ReplayKey(NamedTuple):
    """What a second use of a subject token is recognized by. until: epoch seconds. single_use: whether it is refused."""

    id: str
    until: int
    single_use: bool


def make_lock(
    request: TokenRequest, issuer: str, key: ReplayKey, grant: str, claims: Mapping[str, object]
) -> Lock | None:
    """Return the lock that an exchange takes, None if it may be repeated: not single-use, and no Idempotency-Key.

    issuer: its URL. claims: those that are issued, which a retry gets again.
    """
    idempotency = digest(request.idempotency_key) if request.idempotency_key else ""
    if not key.single_use and not idempotency:
        return None
    subject = [issuer, key.id, grant]
    return Lock(
        id=digest(*subject) if key.single_use else digest(*subject, idempotency),
        expires=key.until,
        idempotency=idempotency,
        request=digest(*subject, request.audience, request.grant, sorted(request.scope or ()), request.scope is None),
        claims=claims,
    )


def digest(*parts: object) -> str:
    """Return the SHA-256 of some JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
