"""An issuer as a provider knows it: its keys, and which of its assertions the provider accepts.

It shares nothing with the broker's own verifier, so that an error there cannot hide here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jwt

Jwks = Mapping[str, object]
Claims = Mapping[str, object]

ELLIPTIC = ("ES256", "ES384", "ES512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})
_CACHED = 600  # seconds


class DeniedError(Exception):
    """An assertion is not accepted. reason: a code, which the provider keeps to itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rules:
    """What an assertion has to be.

    algorithms: with which it may be signed. audiences: of which it has exactly one; empty: any.
    subject: exactly that; None: any. skew: seconds that the clocks may differ. longest: seconds from `iat` to `exp`.
    needs_kid: whether the header must name the key; else the only one is taken, whatever the header names.
    """

    algorithms: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    subject: str | None = None
    skew: float = 0
    longest: int = 3600
    needs_kid: bool = True


class TrustedIssuer:
    """The keys of one issuer, given once or fetched.

    url: the exact `iss`. keys: a JWKS, or what fetches one; then it is kept for `cached` seconds, and read again before
    that for an unknown kid if `rereads`. What cannot be fetched leaves the keys that are known.
    """

    def __init__(
        self,
        url: str,
        keys: Jwks | Callable[[], Jwks],
        *,
        cached: float = _CACHED,
        rereads: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.clock = clock
        self.reads = 0
        self.source, self._cached, self._rereads = keys, cached, rereads
        self._keys: dict[str, jwt.PyJWK] = {} if callable(keys) else key_set(keys)
        self._read_at: float | None = None

    def verify(self, assertion: str, rules: Rules) -> Claims:
        """Return the claims of an assertion; raises DeniedError. It may fetch, so call it off the event loop."""
        header, claims = _parsed(assertion)
        if header.get("alg") not in rules.algorithms:
            raise DeniedError("algorithm_not_allowed")
        if str(header.get("typ", "JWT")).upper() != "JWT":
            raise DeniedError("type_not_allowed")  # such as a token of ours for a caller, which is at+jwt
        if claims.get("iss") != self.url:
            raise DeniedError("match_issuer")
        key = self._key(header.get("kid"), needs_kid=rules.needs_kid)
        if key.algorithm_name != header["alg"]:
            raise DeniedError("algorithm_not_allowed")
        try:
            jwt.PyJWS().decode(assertion, key, algorithms=list(rules.algorithms))
        except (jwt.PyJWTError, ValueError):
            raise DeniedError("signature_invalid") from None
        _check_times(claims, rules, self.clock())
        _check_names(claims, rules)
        return claims

    def _key(self, kid: object, *, needs_kid: bool) -> jwt.PyJWK:
        now = self.clock()
        if callable(self.source) and (self._read_at is None or now >= self._read_at + self._cached):
            self._read(now)
        if not needs_kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if not isinstance(kid, str) or not kid:
            raise DeniedError("kid_missing")
        if kid not in self._keys and self._rereads:
            self._read(now)
        if kid not in self._keys:
            raise DeniedError("kid_unknown")
        return self._keys[kid]

    def _read(self, now: float) -> None:
        if not callable(self.source):
            return
        self.reads += 1
        try:
            self._keys, self._read_at = key_set(self.source()), now
        except (OSError, ValueError, TypeError, jwt.PyJWTError):
            if not self._keys:
                raise DeniedError("jwks_unavailable") from None


def key_set(jwks: Jwks) -> dict[str, jwt.PyJWK]:
    """Return a set's keys by kid; raises ValueError for one that a provider would not store."""
    found: dict[str, jwt.PyJWK] = {}
    members = jwks.get("keys")
    if not isinstance(members, list) or not members:
        raise ValueError("a JWKS has keys")
    for one in members:
        if _PRIVATE & one.keys() or one.get("kty") not in ("EC", "RSA"):
            raise ValueError("a JWKS has only public EC and RSA keys")
        kid = one.get("kid")
        if not isinstance(kid, str) or not kid or kid in found:
            raise ValueError("each key has a kid of its own")
        found[kid] = jwt.PyJWK(dict(one))
    return found


def number(claims: Claims, name: str) -> float:
    """Return a claim that must be a number; raises DeniedError."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise DeniedError(f"{name}_missing")
    return found


def _check_times(claims: Claims, rules: Rules, now: float) -> None:
    issued, expires = number(claims, "iat"), number(claims, "exp")
    if expires + rules.skew <= now:
        raise DeniedError("expired")
    starts = number(claims, "nbf") if "nbf" in claims else issued
    if max(issued, starts) - rules.skew > now:
        raise DeniedError("not_yet_valid")
    if expires - issued > rules.longest:
        raise DeniedError("lifetime_too_long")


def _check_names(claims: Claims, rules: Rules) -> None:
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if rules.audiences and audience not in rules.audiences:
        raise DeniedError("match_audience")
    if rules.subject is not None and claims.get("sub") != rules.subject:
        raise DeniedError("match_subject")


def _parsed(assertion: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return the header and the claims as they are written, unverified."""
    try:
        header = jwt.get_unverified_header(assertion)
        claims = json.loads(jwt.utils.base64url_decode(assertion.split(".")[1]))
    except (jwt.PyJWTError, ValueError, IndexError):
        raise DeniedError("malformed") from None
    if not isinstance(claims, dict):
        raise DeniedError("malformed")
    return header, claims
