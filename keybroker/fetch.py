"""Fetches one token with the ambient identity: a few requests at most, then a token or an error."""

from __future__ import annotations

import secrets
from dataclasses import replace

from keybroker import client
from keybroker.advice import advise
from keybroker.ambient import AWS_SIGV4, Identity, find_identity
from keybroker.errors import BUSY, KeybrokerError, Refused, Unreachable
from keybroker.token import Token, TokenRequest
from keybroker.tries import Tries

_DEADLINE = 2
"""How many times a request's own time limit all of them together may take until the last one begins."""


def fetch(request: TokenRequest, identity: Identity | None = None) -> Token:
    """Exchange an identity, by default the one that is found; raises KeybrokerError, with advice.

    A network error, a 5xx or a busy broker is retried with the same identity token and the same idempotency key, so that
    the broker sees a retry and not a replay; a Retry-After is waited for if that ends before the deadline, and reported
    if not. A refusal, or a 5xx that says it is permanent, is never retried.
    """
    identity = identity or find_identity(request.audience)
    idempotency_key = secrets.token_urlsafe(24)  # 192 bits
    tries = Tries(_DEADLINE * request.timeout)
    try:
        while True:
            try:
                bounded = replace(request, timeout=tries.left(request.timeout))
                return _exchange(bounded, identity, idempotency_key)
            except (Unreachable, Refused) as error:
                if not _is_passing(error) or not tries.wait(error.retry_after, answered=_is_answer(error)):
                    raise
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


def _is_passing(error: Unreachable | Refused) -> bool:
    """Return whether the same request may be answered otherwise in a moment."""
    if isinstance(error, Refused):
        return not error.permanent and (error.status >= 500 or error.error == BUSY)
    # A 200 that cannot be read was cut off on its way.
    return error.status is None or error.status in (200, 429) or error.status >= 500


def _is_answer(error: Unreachable | Refused) -> bool:
    return error.status not in (None, 200)
