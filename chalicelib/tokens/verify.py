"""Verifies tokens: the only place where a token's text becomes `Claims`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, NewType

import jwt

from chalicelib.duration import words
from chalicelib.tokens.errors import InvalidTokenError, RefusedClaimError
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.jws import Unverified, unverified_issuer

Claims = NewType("Claims", Mapping[str, object])
"""Verified claims. Only this module makes them."""

LEEWAY = 30
"""Seconds by which an issuer's clock may be off. Replay locks outlive tokens by it."""
TTL_CEILING = 3600
"""Seconds that an issued token lives at most; no grant can raise it."""
TTL_DEFAULT = 900
"""Seconds that an issued token lives if its grant has no `ttl`."""
TTL_LEAST = 300
"""Seconds that an issued token lives at least: below 240, google-auth would refresh before every call."""
ISSUED_TYPE = "at+jwt"
ISSUED_ALGORITHM = "ES256"


class Expected(NamedTuple):
    """What a token of one issuer must be."""

    issuer: str
    """The `iss`, byte for byte, or `spiffe://<trust domain>`."""
    audience: str
    """The only `aud`, unless that is one of `other_audiences`."""
    max_lifetime: int
    """Seconds: the longest `exp - iat`."""
    types: frozenset[str | None]
    """The header's `typ` in lower case, None for absent."""
    required: tuple[str, ...] = ()
    """Claims that must be present besides iss, aud, iat and exp."""
    grace: int = LEEWAY
    """Seconds for which a token is accepted after its `exp`."""
    fractions: bool = False
    """Whether its times may have a fraction, as other people's may; ours have none."""
    other_audiences: tuple[str, ...] = ()


SUBJECT_TYPES: frozenset[str | None] = frozenset({None, "jwt", "id_token"})
"""A `typ` of ours is not among them: an issued token never serves as a subject token."""


class VerifiedSignature(NamedTuple):
    """What a token states, with only its signature verified, by `key`. Only `verify_signature` makes it."""

    typ: str | None
    claims: Mapping[str, object]
    key: VerifyingKey


Proven = NewType("Proven", VerifiedSignature)
"""A token whose signature, type, issuer and audience hold: it is proved who sends it. Only `prove` and `check_proof` make it."""


def verify(unverified: Unverified, key: VerifyingKey, expected: Expected, now: int) -> Claims:
    """Return the claims of a token whose signature, issuer, audience, type and times are valid at `now` (epoch seconds).

    Raises InvalidTokenError with the rule that the token breaks, RefusedClaimError once it is proved who sends it.
    Rules: RFC 7519 section 4.1, RFC 8725 section 3, RFC 9068 section 4.
    """
    return check_rules(prove(unverified, key, expected), expected, now)


def prove(unverified: Unverified, key: VerifyingKey, expected: Expected) -> Proven:
    """Return the token if its type, signature, issuer and audience hold; raises InvalidTokenError, and callers are told nothing."""
    _check_type(unverified.typ, expected)
    return check_proof(verify_signature(unverified, key), expected)


def verify_signature(unverified: Unverified, key: VerifyingKey) -> VerifiedSignature:
    """Return what a token states if its signature verifies; raises InvalidTokenError."""
    return VerifiedSignature(unverified.typ, decode(unverified, key), key)


def check_claims(verified: VerifiedSignature, expected: Expected, now: int) -> Claims:
    """Return the claims of a token whose issuer, audience, type and times are valid at `now`; see `verify`."""
    return check_rules(check_proof(verified, expected), expected, now)


def check_proof(verified: VerifiedSignature, expected: Expected) -> Proven:
    """Return a token with a verified signature if its type, issuer and audience hold, too; raises InvalidTokenError.

    The type is a part of the proof: an access token of the same issuer is not its caller's own word on who it is.
    """
    _check_type(verified.typ, expected)
    claims = verified.claims
    if unverified_issuer(claims) != expected.issuer:
        raise InvalidTokenError("iss_wrong")
    # SECURITY: one audience alone, even of two that are both ours (test_two_audiences_at_once).
    if not any(claims.get("aud") in (one, [one]) for one in (expected.audience, *expected.other_audiences)):
        raise InvalidTokenError("aud_wrong")
    return Proven(verified)


def check_rules(proven: Proven, expected: Expected, now: int) -> Claims:
    """Return the claims if times and what is required are as they must be at `now`; raises RefusedClaimError.

    Times are whole seconds in them: a fraction is cut off.
    """
    claims = proven.claims
    times = _checked_times(claims, expected, now)
    for name in expected.required:
        if claims.get(name) in (None, ""):
            raise RefusedClaimError(f"{name}_missing", f"its claim {name!r} is missing or empty")
    return Claims({**claims, **times})


def iam_claims(claims: Mapping[str, object]) -> Claims:
    """Return the claims of a caller whose signature API Gateway's IAM authorizer has verified."""
    return Claims(claims)


def decode(unverified: Unverified, key: VerifyingKey) -> Mapping[str, object]:
    """Return the payload if its signature verifies with the key's own algorithm and no other; raises InvalidTokenError."""
    # SECURITY: the algorithm is the registry's; a header that names another is refused (vectors/subject_tokens.json).
    if unverified.alg != key.algorithm:
        raise InvalidTokenError("alg_wrong")
    if unverified.kid != key.kid:
        raise InvalidTokenError("kid_wrong")
    # SECURITY: every option is spelled out. Times, issuer and audience are checked by `verify`, with the caller's
    # clock and stricter than PyJWT does (it takes times that are strings, and lists of audiences).
    try:
        claims = jwt.decode(
            unverified.text,
            key=key.key,
            algorithms=[key.algorithm],
            options={
                "verify_signature": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
                "require": [],
                "enforce_minimum_key_length": True,
            },
        )
    except jwt.InvalidSignatureError:
        raise InvalidTokenError("signature_wrong") from None
    except (jwt.PyJWTError, ValueError):
        raise InvalidTokenError("not_a_jwt") from None
    if claims != unverified.unverified_claims:
        raise InvalidTokenError("claims_ambiguous")
    return unverified.unverified_claims


def _check_type(typ: str | None, expected: Expected) -> None:
    if (typ.lower() if typ else None) not in expected.types:
        raise InvalidTokenError("typ_wrong")


def _checked_times(claims: Mapping[str, object], expected: Expected, now: int) -> dict[str, int]:
    """The times that the token states, in whole seconds; raises RefusedClaimError unless they are valid at `now`."""
    kinds = (int, float) if expected.fractions else (int,)
    stated = {name: _time(claims, name, kinds) for name in ("iat", "exp", *({"nbf"} & claims.keys()))}
    times = {name: math.floor(value) for name, value in stated.items()}
    if times["exp"] <= now - expected.grace:
        raise RefusedClaimError("exp_past", f"it expired {words(now - times['exp'])} ago (`exp`); get a fresh one")
    for name in ("iat", "nbf"):
        # SECURITY: with its fraction, which may only end a token earlier, never begin it (test_a_fraction_is_never_laxer).
        if stated.get(name, 0) > now + LEEWAY:
            ahead = words(times[name] - now)
            raise RefusedClaimError(f"{name}_future", f"its {name!r} is {ahead} ahead of the broker's clock")
    life = times["exp"] - times["iat"]
    if not 0 < life <= expected.max_lifetime:
        raise RefusedClaimError("lifetime_too_long", _life(life, expected.max_lifetime))
    return times


def _life(seconds: int, longest: int) -> str:
    """Say what is wrong with a token's life, in seconds too: 3601 s and 1 h could be the same words."""
    if seconds <= 0:
        return "its 'exp' is not after its 'iat'"
    lives = f"it lives {words(seconds)} ({seconds} s, `exp` - `iat`)"
    return f"{lives}; its issuer's tokens may live {words(longest)} ({longest} s)"


def _time(claims: Mapping[str, object], name: str, kinds: tuple[type, ...]) -> int | float:
    """A NumericDate: a number of seconds, which may have a fraction (RFC 7519 section 2)."""
    value = claims.get(name)
    # SECURITY: bool is an int in Python, and PyJWT accepts strings; here only a number is a time, and neither NaN nor
    # infinity is within the bounds (test_times_are_numbers).
    if type(value) not in kinds or not isinstance(value, int | float) or not 0 <= value < 2**53:
        if value is None:
            raise RefusedClaimError(f"{name}_missing", f"its claim {name!r} is missing")
        raise RefusedClaimError(f"{name}_malformed", f"its claim {name!r} is not a number of seconds since 1970")
    return value
