"""Verifies the tokens that we issued: at the edge, and when their holder revokes them."""

from __future__ import annotations

import functools
from typing import Protocol

from chalicelib.revocation import EPOCHS
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.signature_cache import SignatureCache

UNKNOWN_KID_PAUSE = 10
"""Seconds between reads for unknown kids, so that made-up ones cost one read in that time.

A key must be published that long before it signs.
"""
_TEXTS = ("sub", "client_id", "scope", "grant", "idp", "jti")
"""The claims of an issued token that are text; `ep` is the epochs."""
_REQUIRED = (*_TEXTS, "ep")
_TYPES: frozenset[str | None] = frozenset({tokens.ISSUED_TYPE})


class SigningKeys(Protocol):
    """The public keys of our own tokens. A kid is its key's thumbprint, so a key that was found stays right."""

    def find(self, kid: str, now: int) -> VerifyingKey:
        """Return the key; raises InvalidTokenError if there is no such key, Unavailable if the keys cannot be read."""


def verify(
    unverified_token: str, issuer: str, audience: str | None, keys: SigningKeys, now: int
) -> tuple[tokens.Claims, str]:
    """Return the claims of a token that we issued, and the kid of the key that signed it.

    issuer: the broker's URL. audience: the provider key's name; None accepts the token's own. now: epoch seconds.
    Raises InvalidTokenError, or Unavailable if the signing keys cannot be read.
    """
    verified = verify_signature(unverified_token, keys, now, SignatureCache())
    return check_claims(verified, issuer, audience, now), verified.key.kid


def verify_signature(
    unverified_token: str, keys: SigningKeys, now: int, cache: SignatureCache
) -> tokens.VerifiedSignature:
    """Return what a token states if its signature verifies: the first half of `verify`. Errors as there."""
    known = cache.find(unverified_token)
    # SECURITY: the key is looked up all the same: one that is gone verifies nothing
    # (test_key_gone_though_remembered).
    if known and keys.find(known.key.kid, now) is known.key:
        return known
    unverified = jws.parse(unverified_token)
    verified = tokens.verify_signature(unverified, keys.find(unverified.kid, now))
    cache.add(unverified_token, verified)
    return verified


def check_claims(verified: tokens.VerifiedSignature, issuer: str, audience: str | None, now: int) -> tokens.Claims:
    """Return the claims of a token of ours that is valid now: the second half of `verify`."""
    named = verified.claims.get("aud") if audience is None else audience
    expected = _expected(issuer, named if isinstance(named, str) else "")
    return _check_types(tokens.check_claims(verified, expected, now))


@functools.lru_cache(maxsize=64)
def _expected(issuer: str, audience: str) -> tokens.Expected:
    return tokens.Expected(
        issuer=issuer,
        audience=audience,
        max_lifetime=tokens.TTL_CEILING,
        types=_TYPES,
        required=_REQUIRED,
        grace=0,  # our own clock set `exp`, and a token of minutes must not live half a minute more
    )


def _check_types(claims: tokens.Claims) -> tokens.Claims:
    """Return the claims if all that is read of them has the type that the broker gives it."""
    for name in _TEXTS:
        if not isinstance(claims[name], str):
            raise InvalidTokenError(f"{name}_malformed")
    epochs = claims["ep"]
    # SECURITY: bool is an int in Python and 1.0 == 1; neither is an epoch (vectors/issued_tokens.json).
    if not isinstance(epochs, list) or len(epochs) != len(EPOCHS) or any(type(n) is not int or n < 0 for n in epochs):
        raise InvalidTokenError("ep_malformed")
    if claims.get("total", True) is not True:  # absent, or true
        raise InvalidTokenError("total_malformed")
    return claims
