"""How a second use of a subject token is recognized, and a retry told from a replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from chalicelib.exchange.ledger import Lock
from chalicelib.exchange.request import TokenRequest
from chalicelib.principal import Principal
from chalicelib.tokens.errors import RefusedClaimError
from chalicelib.tokens.verify import Claims


class ReplayKey(NamedTuple):
    """What a second use of a subject token is recognized by. until: epoch seconds. single_use: whether it is refused."""

    id: str
    until: int
    single_use: bool


def make_lock(
    request: TokenRequest, caller: Principal, key: ReplayKey, grant: str, claims: Mapping[str, object]
) -> Lock | None:
    """Return the lock that an exchange takes, None if it may be repeated: not single-use, and no Idempotency-Key.

    claims: those that are issued, which a retry gets again.
    """
    idempotency = digest(request.idempotency_key) if request.idempotency_key else ""
    if not key.single_use and not idempotency:
        return None
    subject = [caller.issuer, key.id, grant]
    asked = [request.audience, request.grant, sorted(request.scope or ()), request.scope is None]
    return Lock(
        # A `jti` is unique at its issuer (RFC 7519 section 4.1.7): one that two subjects have in common is used once.
        id=digest(*subject) if key.single_use else digest(*subject, idempotency),
        expires=key.until,
        idempotency=idempotency,
        # SECURITY: with the caller's `sub`, or a caller that brings another's `jti` would be issued that caller's token
        # (test_a_retry_is_of_the_same_subject).
        request=digest(*subject, caller.sub, *asked),
        claims=claims,
    )


def replay_id(unverified_subject_token: str, claims: Claims) -> str:
    """Return what a second use of a subject token is recognized by: its `jti`, or what was signed if it has none.

    Raises RefusedClaimError for a `jti` that is not non-empty text: several tokens could then count as one, or one as many.
    """
    if "jti" not in claims:
        return signed_id(unverified_subject_token)
    jti = claims["jti"]
    # SECURITY: `true` and "True", 1 and "1" would be the same lock, and "" none (test_a_jti_is_text).
    if not isinstance(jti, str) or not jti:
        raise RefusedClaimError("jti_malformed", "its claim 'jti' is empty, or not text")
    return jti


def signed_id(unverified_subject_token: str) -> str:
    """Return what a token is known by whatever its claims are: a hash of what was signed."""
    # Never the whole text of a token: signatures are malleable.
    return digest(unverified_subject_token.rpartition(".")[0])


def digest(*parts: object) -> str:
    """Return the SHA-256 of some JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
