"""Fetches one token with the ambient identity: at most two requests, then a token or an error."""

from __future__ import annotations

import random
import secrets
import time

from keybroker import client
from keybroker.advice import advise
from keybroker.ambient import AWS_SIGV4, Identity, find_identity
from keybroker.errors import BUSY, KeybrokerError, Refused, Unreachable
from keybroker.http_client import RETRY_PAUSE
from keybroker.token import Token, TokenRequest

_LONGEST_RETRY_AFTER = 5
"""Seconds of a Retry-After that are waited for here; a longer one is reported to the caller."""


def fetch(request: TokenRequest, identity: Identity | None = None) -> Token:
    """Exchange an identity, by default the one that is found; raises KeybrokerError, with advice.

    A network error, a 5xx or a busy broker is retried once with the same identity token and the same idempotency key, so
    that the broker sees a retry and not a replay. A refusal, or a 5xx that says it is permanent, is never retried.
    """
    identity = identity or find_identity(request.audience)
    idempotency_key = secrets.token_urlsafe(24)  # 192 bits
    try:
        try:
            return _exchange(request, identity, idempotency_key)
        except (Unreachable, Refused) as error:
            pause = _pause(error)
            if pause is None:
                raise
        time.sleep(pause)
        return _exchange(request, identity, idempotency_key)
    except KeybrokerError as error:
        error.advice = advise(error, request.url, identity)
        raise


def _exchange(request: TokenRequest, identity: Identity, idempotency_key: str) -> Token:
    if identity.source == AWS_SIGV4:
        return client.exchange_signature(
            request.url,
            request.key,
            grant=request.grant,
            scope=request.scope,
            idempotency_key=idempotency_key,
            timeout=request.timeout,
            region=request.region,
        )
    return client.exchange_token(
        request.url,
        identity.unverified_subject_token,
        request.key,
        grant=request.grant,
        scope=request.scope,
        idempotency_key=idempotency_key,
        timeout=request.timeout,
    )


def _pause(error: KeybrokerError) -> float | None:
    """Return the seconds to wait before the second request, None if there must be none."""
    if isinstance(error, Refused) and (error.permanent or (error.status < 500 and error.error != BUSY)):
        return None
    wait = (error.retry_after or 0) if isinstance(error, Refused) else 0
    return None if wait > _LONGEST_RETRY_AFTER else wait + random.uniform(*RETRY_PAUSE)  # noqa: S311  no secret
