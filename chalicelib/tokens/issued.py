"""The tokens that we issue, when they come back: at the edge, or to be taken back."""

from __future__ import annotations

from typing import Protocol

from chalicelib.revocation import EPOCHS
from chalicelib.tokens import jws
from chalicelib.tokens import verify as tokens
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.seen import SeenSignatures

_TEXTS = ("sub", "client_id", "scope", "grant", "idp", "jti")
"""The claims of an issued token that are text; `ep` is the epochs."""
_REQUIRED = (*_TEXTS, "ep")
_TYPES: frozenset[str | None] = frozenset({tokens.ISSUED_TYPE})


class SigningKeys(Protocol):
    """The public keys of our own tokens. A kid is its key's thumbprint, so what was found once stays true."""

    def find(self, kid: str, now: int) -> VerifyingKey:
        """Return the key; raises InvalidTokenError if there is none, Unavailable if that cannot be told."""


def verify(
    unverified_token: str, issuer: str, audience: str | None, keys: SigningKeys, now: int
) -> tuple[tokens.Claims, str]:
    """Return the claims of a token that we issued, and the id of the key that signed it.

    issuer: the broker's URL. audience: the key's name; None takes the token's own. now: epoch seconds.
    Raises InvalidTokenError, or Unavailable if the signing key cannot be looked up.
    """
    found = signed(unverified_token, keys, now, SeenSignatures())
    return check(found, issuer, audience, now), found.key.kid


def signed(unverified_token: str, keys: SigningKeys, now: int, seen: SeenSignatures) -> tokens.Signed:
    """Return what a token states whose signature holds: the first half of `verify`. seen: which need not be verified."""
    known = seen.find(unverified_token)
    # SECURITY: the key is asked for all the same: one that is there no more verifies nothing
    # (test_a_signature_is_not_taken_for_verified_once_its_key_is_gone).
    if known and keys.find(known.key.kid, now) is known.key:
        return known
    unverified = jws.parse(unverified_token)
    found = tokens.signed(unverified, keys.find(unverified.kid, now))
    seen.add(unverified_token, found)
    return found


def check(signed: tokens.Signed, issuer: str, audience: str | None, now: int) -> tokens.Claims:
    """Return the claims of a token of ours that is good now: the second half of `verify`."""
    named = signed.claims.get("aud") if audience is None else audience
    expected = tokens.Expected(
        issuer=issuer,
        audience=named if isinstance(named, str) else "",
        max_lifetime=tokens.TTL_CEILING,
        types=_TYPES,
        required=_REQUIRED,
        grace=0,  # our own clock set it, and a token of minutes must not live half a minute more
    )
    return _typed(tokens.check(signed, expected, now))


def _typed(claims: tokens.Claims) -> tokens.Claims:
    """Return the claims if all that is read of them has the type that the broker gives it."""
    for name in _TEXTS:
        if not isinstance(claims[name], str):
            raise InvalidTokenError(f"{name}_malformed")
    epochs = claims["ep"]
    # SECURITY: bool is an int in Python and 1.0 == 1; neither is an epoch (vectors/issued_tokens.json).
    if not isinstance(epochs, list) or len(epochs) != len(EPOCHS) or any(type(n) is not int or n < 0 for n in epochs):
        raise InvalidTokenError("ep_malformed")
    if claims.get("total", True) is not True:  # it is there, and true, or not there
        raise InvalidTokenError("total_malformed")
    return claims
