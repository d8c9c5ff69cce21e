"""What to do next when there was no token: one sentence, added to the error."""

from __future__ import annotations

import time

from keybroker.ambient import LOGIN, Identity
from keybroker.audience import discover_audience
from keybroker.claims import unverified_claims
from keybroker.duration import words
from keybroker.errors import BUSY, KeybrokerError, Refused, Unreachable

_DISCOVERY_TIMEOUT = 3.0
"""Seconds for one more request to the broker, which makes the advice exact."""


def advise(error: KeybrokerError, url: str, identity: Identity) -> str:
    """Return the advice, "" where the error itself is enough. It holds no token, and no claims but `aud` and `iss`."""
    if isinstance(error, Unreachable):
        return f"Check that {url} is the broker's address (KEYBROKER_URL) and that this machine can reach it."
    return _for_refusal(error, url, identity) if isinstance(error, Refused) else ""


def _for_refusal(refused: Refused, url: str, identity: Identity) -> str:
    if refused.permanent:
        return "The broker needs its operator: no token was issued, and trying again does not help."
    if refused.status >= 500 or refused.error == BUSY:
        return "The broker is overloaded or failing: no token was issued. Try again later."
    if refused.status == 429:
        wait = "later" if refused.retry_after is None else f"in {words(refused.retry_after)}"
        return f"Try again {wait}, or have the grant's quota raised."
    if refused.error == "invalid_grant" and not refused.description:
        return _for_rejected_identity(url, identity)
    if refused.error == "invalid_target":
        return f"The identity comes from {identity.source}; `keybroker whoami --claims` shows the claims that a grant must match."
    return ""


def _for_rejected_identity(url: str, identity: Identity) -> str:
    """Explain a bare `invalid_grant` from the token's own claims: the broker tells unverified callers nothing."""
    claims = unverified_claims(identity.unverified_subject_token)
    expires, issuer, audience = (claims.get(name) for name in ("exp", "iss", "aud"))
    subject = f"The identity token ({identity.source})"
    if identity.source == LOGIN:
        return f"{subject} was not accepted: the policy must list {_claim('issuer', issuer)} with {_claim('audience', audience)}, the client ID."
    expected = _expected_audience(url, issuer)
    if expected is not None and audience != expected:
        # SECURITY: a person decides. A broker that could choose the audience by itself could have tokens issued for
        # another service's API, and use them there (test_the_broker_does_not_choose_the_audience).
        return f"{subject} has {_claim('audience', audience)}, but the broker expects {expected!r}: set KEYBROKER_AUDIENCE."
    # Last: a broker that finds nothing else wrong says itself that it has expired.
    if isinstance(expires, int | float) and expires < time.time():
        return f"{subject} has expired; get a fresh one."
    return (
        f"{subject} was not accepted: it has {_claim('issuer', issuer)} and {_claim('audience', audience)}, "
        "and the broker's policy must list exactly these; KEYBROKER_AUDIENCE sets the audience to request. "
        "If it does list them, the token is not signed with a key that this issuer publishes."
    )


def _expected_audience(url: str, issuer: object) -> str | None:
    """Return the audience that the broker expects of an issuer's tokens, None if that cannot be found out."""
    if not isinstance(issuer, str):
        return None
    try:
        return discover_audience(url, issuer, timeout=_DISCOVERY_TIMEOUT)
    except KeybrokerError:
        return None


def _claim(name: str, value: object) -> str:
    return f"{name} {value!r}"[:200] if value is not None else f"no {name}"
