"""What to do next when there was no token: one sentence for whoever reads the error."""

from __future__ import annotations

import time

from keybroker.ambient import Identity
from keybroker.audience import discover
from keybroker.errors import BUSY, KeybrokerError, Refused, Unreachable
from keybroker.identity_claims import unverified_claims

_PATIENCE = 3.0
"""Seconds for one more question to the broker, so that the advice is exact."""


def about(fault: KeybrokerError, url: str, identity: Identity) -> str:
    """Return the advice; "" where the error says it itself. It holds no token, and of the claims `aud` and `iss` alone."""
    if isinstance(fault, Unreachable):
        return f"Is {url} the broker's address (KEYBROKER_URL), and can this machine reach it?"
    return _refused(fault, url, identity) if isinstance(fault, Refused) else ""


def _refused(refused: Refused, url: str, identity: Identity) -> str:
    if refused.status >= 500 or refused.error == BUSY:
        return "The broker is busy or ill; nothing was issued. Try again later."
    if refused.status == 429:
        wait = "later" if refused.retry_after is None else f"in {refused.retry_after} s"
        return f"Ask again {wait}, or have the grant's quota raised."
    if refused.error == "invalid_grant" and not refused.description:
        return _not_accepted(url, identity)
    if refused.error == "invalid_target":
        return f"The identity is from {identity.source}; `keybroker whoami --claims` shows what it says, which a grant has to match."
    return ""


def _not_accepted(url: str, identity: Identity) -> str:
    """The broker does not say why it did not accept an identity token, for anybody could ask; its claims tell."""
    claims = unverified_claims(identity.unverified_subject_token)
    expires, issuer, audience = (claims.get(name) for name in ("exp", "iss", "aud"))
    named = f"The identity token ({identity.source})"
    if isinstance(expires, int | float) and expires < time.time():
        return f"{named} has expired; get a fresh one."
    wanted = _wanted_audience(url, issuer)
    if wanted is not None and audience != wanted:
        # SECURITY: a person decides. A broker that could choose the audience by itself could have tokens made out for
        # somebody else's API, and use them there (test_the_broker_does_not_choose_the_audience).
        return (
            f"{named} is for audience {_shown(audience)}, and the broker's is {_shown(wanted)}: set KEYBROKER_AUDIENCE."
        )
    return (
        f"{named} was not accepted: it is of issuer {_shown(issuer)} and for audience {_shown(audience)}, "
        "and the broker's policy has to list both as they are; KEYBROKER_AUDIENCE sets the audience to ask for."
    )


def _wanted_audience(url: str, issuer: object) -> str | None:
    """Return the audience that the broker has for an issuer, None if it cannot be had."""
    if not isinstance(issuer, str):
        return None
    try:
        return discover(url, issuer, timeout=_PATIENCE)
    except KeybrokerError:
        return None


def _shown(claim: object) -> str:
    return repr(claim)[:200] if claim is not None else "nobody"
