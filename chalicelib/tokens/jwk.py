"""Which public keys may verify a signature, and with which one algorithm (RFC 7517, RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jwt

from chalicelib.tokens.errors import InvalidTokenError

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"})
"""What issuers may sign with. Nothing symmetric and not `none`: a public key must never serve as a shared secret."""

SIGNING_USE = "sig"
_CURVES = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
_RSA_BYTES = 2048 // 8


class VerifyingKey(NamedTuple):
    """A public key that passed the rules, with the one algorithm it may be used with."""

    kid: str
    algorithm: str
    key: jwt.PyJWK


Keys = Mapping[str, Mapping[str, VerifyingKey]]
"""The usable keys of a set by kid, and by algorithm where several have the same kid."""


def verifying_key(
    jwk: Mapping[str, object], allowed: Iterable[str], uses: tuple[str, ...] = (SIGNING_USE,)
) -> VerifyingKey:
    """Return a JWK as a key; raises InvalidTokenError with the rule that it breaks.

    jwk: a member of a JWKS. allowed: the issuer's algorithms; the key's own algorithm, or the only one that fits
    its type, must be among them. uses: values of `use` of a key that signs. PyJWT ignores `use` and `key_ops`, so they are checked here.
    """
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidTokenError("key_without_kid")
    if jwk.get("use", uses[0]) not in uses:
        raise InvalidTokenError("key_use")
    key_ops = jwk.get("key_ops", ["verify"])
    if not isinstance(key_ops, list) or "verify" not in key_ops:
        raise InvalidTokenError("key_ops")
    algorithm = _algorithm(jwk, frozenset(allowed) & ALGORITHMS)
    _check_rsa(jwk)
    public = {name: value for name, value in jwk.items() if name in ("kty", "crv", "x", "y", "n", "e", "kid")}
    try:
        return VerifyingKey(kid, algorithm, jwt.PyJWK({**public, "alg": algorithm}))
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        raise InvalidTokenError("key_malformed") from None


def key_set(jwks: object, allowed: Iterable[str], uses: tuple[str, ...] = (SIGNING_USE,)) -> Keys:
    """Return the usable keys of a JWKS; raises InvalidTokenError if the whole set must not be trusted.

    A set with a symmetric key is refused, or with two usable keys of the same kid and algorithm: which of them is meant,
    nobody can tell. A key that is not for verifying (another `use`), or of an unsupported kind, is left out.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise InvalidTokenError("jwks_malformed")
    if any(member.get("kty") == "oct" for member in members):
        raise InvalidTokenError("jwks_symmetric")
    names = tuple(allowed)
    keys: dict[str, dict[str, VerifyingKey]] = {}
    for member in members:
        try:
            key = verifying_key(member, names, uses)
        except InvalidTokenError:
            continue  # issuers also publish encryption keys, and kinds that we do not use
        same = keys.setdefault(key.kid, {})
        # SECURITY: an ambiguous set is refused as a whole, not resolved by order (test_refused_key_sets).
        if key.algorithm in same:
            raise InvalidTokenError("jwks_kid_twice")
        same[key.algorithm] = key
    return keys


def chosen(keys: Keys, kid: str, alg: str) -> VerifyingKey | None:
    """Return the key that a token's header means, None if no key has its kid.

    `alg` only chooses among keys of that kid, each of which has one algorithm of its own. If none of them has this one,
    the answer is any of them, with which `verify.decode` refuses the token.
    """
    same = keys.get(kid, {})
    return same.get(alg) or next(iter(same.values()), None)


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the RFC 7638 thumbprint of an EC or RSA key: base64url of the SHA-256 of its required members."""
    members = {name: jwk[name] for name in (("e", "kty", "n") if jwk["kty"] == "RSA" else ("crv", "kty", "x", "y"))}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _algorithm(jwk: Mapping[str, object], allowed: frozenset[str]) -> str:
    """The one algorithm of a key: its own `alg`, else the only allowed one that fits its type."""
    kty = jwk.get("kty")
    if kty == "RSA":
        fitting = {name for name in allowed if name[:2] in ("RS", "PS")}
    elif kty in ("EC", "OKP"):
        fitting = {_CURVES.get(str(jwk.get("crv")), "")} & allowed
    else:
        raise InvalidTokenError("key_type")
    own = jwk.get("alg")
    if own is not None:
        fitting &= {str(own)}
    if len(fitting) != 1:
        # Several fit an RSA key without `alg`; issuers that publish such keys (AWS STS) sign with RS256.
        if own is None and "RS256" in fitting:
            return "RS256"
        raise InvalidTokenError("key_algorithm")
    return fitting.pop()


def _check_rsa(jwk: Mapping[str, object]) -> None:
    if jwk.get("kty") != "RSA":
        return
    n, e = _number(jwk.get("n")), _number(jwk.get("e"))
    if n.bit_length() < _RSA_BYTES * 8 or n.bit_length() > 8192:
        raise InvalidTokenError("key_size")
    if e < 65537 or e % 2 == 0 or e.bit_length() > 32:
        raise InvalidTokenError("key_exponent")
    if _roca(n):
        raise InvalidTokenError("key_roca")


def _number(value: object) -> int:
    try:
        return int.from_bytes(base64.urlsafe_b64decode(f"{value}=="), "big") if isinstance(value, str) else 0
    except ValueError:
        raise InvalidTokenError("key_malformed") from None


# CVE-2017-15361: moduli of the affected library are powers of 65537 modulo each of these primes.
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_ROCA_POWERS = {prime: {pow(65537, power, prime) for power in range(prime)} for prime in _ROCA_PRIMES}


def _roca(n: int) -> bool:
    return all(n % prime in powers for prime, powers in _ROCA_POWERS.items())
