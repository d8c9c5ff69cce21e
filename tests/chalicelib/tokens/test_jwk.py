from __future__ import annotations

import json
import math
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import ALGORITHMS, chosen, key_set, thumbprint, verifying_key
from tests import forge
from tests.forge import b64

OCT = {"kty": "oct", "k": b64(b"x" * 32), "kid": "o", "alg": "HS256"}


def rsa_jwk(**more: object) -> dict[str, Any]:
    return {**forge.rsa_key("rsa-1").jwk, **more}


def ec_jwk(**more: object) -> dict[str, Any]:
    return {**forge.ec_key("ec-1").jwk, **more}


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def reason(jwk: dict[str, Any], *allowed: str) -> str:
    with pytest.raises(InvalidTokenError) as refused:
        verifying_key(jwk, allowed or ALGORITHMS)
    return refused.value.reason


def test_own_algorithm_only() -> None:
    """A key is used with its own algorithm only."""
    assert verifying_key(rsa_jwk(alg="PS256"), ALGORITHMS).algorithm == "PS256"
    assert verifying_key(rsa_jwk(alg="RS512"), ["RS256", "RS512"]).algorithm == "RS512"
    assert verifying_key(ec_jwk(), ["ES256"]).algorithm == "ES256"


def test_key_without_alg() -> None:
    """A key without `alg` gets the only algorithm that fits it."""
    assert verifying_key(without(ec_jwk(), "alg"), ALGORITHMS).algorithm == "ES256"
    assert verifying_key(without(rsa_jwk(), "alg"), ["PS256", "ES256"]).algorithm == "PS256"


def test_rsa_key_without_alg() -> None:
    """An RSA key without `alg` is for RS256 where several algorithms fit."""
    assert verifying_key(without(rsa_jwk(), "alg"), ALGORITHMS).algorithm == "RS256"
    assert reason(without(rsa_jwk(), "alg"), "RS384", "PS256") == "key_algorithm"


def test_the_other_supported_curves_make_keys() -> None:
    p384 = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
    edwards = json.loads(OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key()))
    assert verifying_key({**p384, "kid": "a"}, ALGORITHMS).algorithm == "ES384"
    assert verifying_key({**edwards, "kid": "b"}, ALGORITHMS).algorithm == "EdDSA"
    assert reason({**p384, "kid": "a"}, "RS256", "ES256") == "key_algorithm"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kid": None}, "key_without_kid"),
        ({"kid": ""}, "key_without_kid"),
        ({"kid": 1}, "key_without_kid"),
        ({"use": "enc"}, "key_use"),
        ({"use": None}, "key_use"),
        ({"use": ["sig"]}, "key_use"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": []}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"key_ops": None}, "key_ops"),
        ({"kty": "oct"}, "key_type"),
        ({"kty": "rsa"}, "key_type"),
        ({"kty": ["RSA"]}, "key_type"),
        ({"kty": None}, "key_type"),
        ({"kty": "EC"}, "key_algorithm"),
        ({"alg": "HS256"}, "key_algorithm"),
        ({"alg": "none"}, "key_algorithm"),
        ({"alg": "ES256"}, "key_algorithm"),
        ({"alg": ["RS256"]}, "key_algorithm"),
        ({"alg": ""}, "key_algorithm"),
        ({"e": "AQ"}, "key_exponent"),
        ({"e": number(3)}, "key_exponent"),
        ({"e": number(65536)}, "key_exponent"),
        ({"e": number(65538)}, "key_exponent"),
        ({"e": number(2**32 + 1)}, "key_exponent"),
        ({"e": None}, "key_exponent"),
        ({"n": number(2**2047 - 1)}, "key_size"),
        ({"n": number(2**8192 + 1)}, "key_size"),
        ({"n": None}, "key_size"),
        ({"n": "é"}, "key_malformed"),
    ],
)
def test_refused_rsa_keys(changes: dict[str, object], expected: str) -> None:
    """An RSA key that breaks a rule is refused for that rule."""
    assert reason(rsa_jwk(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"y": b64(b"\1" * 32)}, "key_malformed"),  # not on the curve: an invalid-curve attack
        ({"x": b64(b"\0" * 32), "y": b64(b"\0" * 32)}, "key_malformed"),
        ({"x": b64(b"\1" * 31)}, "key_malformed"),
        ({"x": None}, "key_malformed"),
        ({"x": 5}, "key_malformed"),
        ({"crv": "P-384"}, "key_algorithm"),
        ({"crv": "P-521", "alg": "ES512"}, "key_algorithm"),
        ({"crv": "secp256k1", "alg": "ES256K"}, "key_algorithm"),
        ({"kty": "OKP"}, "key_malformed"),
        ({"alg": "ES384"}, "key_algorithm"),
    ],
)
def test_refused_ec_keys(changes: dict[str, object], expected: str) -> None:
    """An EC key that breaks a rule is refused for that rule."""
    assert reason(ec_jwk(**changes)) == expected


def test_a_short_rsa_key_is_refused() -> None:
    assert reason(rsa_jwk(n=number(2**1024 - 1))) == "key_size"


def test_roca() -> None:
    # The marks are a power of 65537 modulo every small prime; this number bears them up to the prime 167.
    """A modulus of the affected library (CVE-2017-15361) is refused."""
    primes = [one for one in range(3, 168) if all(one % other for other in range(2, one))]
    product = math.prod(primes)
    marked = pow(65537, 5, product) + product * (2**2048 // product - 2)
    modulus = marked if marked % 2 else marked + product
    assert modulus.bit_length() == 2048
    assert reason(rsa_jwk(n=number(modulus))) == "key_roca"


def test_symmetric_algorithms() -> None:
    """A symmetric algorithm is refused, even where an issuer's list allows it."""
    assert not {name for name in ALGORITHMS if name.startswith("HS") or name.lower() == "none"}
    assert reason(dict(OCT), "HS256", "RS256") == "key_type"
    assert reason(rsa_jwk(alg="HS256"), "HS256", "RS256") == "key_algorithm"
    assert reason(rsa_jwk(alg="RS1"), "RS1") == "key_algorithm"


def test_other_members_are_dropped() -> None:
    """Only the public members of a JWK are used."""
    key = verifying_key(rsa_jwk(d=b64(b"\1" * 256), x5c=["AAAA"], x5u="https://attacker.example"), ["RS256"])
    assert isinstance(key.key.key, rsa.RSAPublicKey)


def test_key_set() -> None:
    """A key set gives its usable keys and leaves the others out."""
    members = [rsa_jwk(), ec_jwk(), rsa_jwk(kid="enc", use="enc"), rsa_jwk(kid="weak", e="AQ"), {"kty": "new"}]
    assert set(key_set({"keys": members}, ALGORITHMS)) == {"rsa-1", "ec-1"}
    assert set(key_set({"keys": members}, ["ES256"])) == {"ec-1"}
    assert key_set({"keys": []}, ALGORITHMS) == {}


@pytest.mark.parametrize(
    ("jwks", "expected"),
    [
        ({"keys": [rsa_jwk, OCT]}, "jwks_symmetric"),
        ({"keys": [rsa_jwk, rsa_jwk]}, "jwks_kid_twice"),
        ({"keys": [rsa_jwk, {"kty": "new", "kid": "rsa-1"}, rsa_jwk]}, "jwks_kid_twice"),
        ({"keys": [rsa_jwk, "rsa-1"]}, "jwks_malformed"),
        ({"keys": {"rsa-1": rsa_jwk}}, "jwks_malformed"),
        ({"keys": None}, "jwks_malformed"),
        ({}, "jwks_malformed"),
        ([rsa_jwk], "jwks_malformed"),
        (None, "jwks_malformed"),
    ],
)
def test_refused_key_sets(jwks: Any, expected: str) -> None:  # noqa: ANN401  any JSON
    """A key set that must not be trusted is refused as a whole."""
    made = json.loads(json.dumps(jwks, default=lambda make: make()))
    with pytest.raises(InvalidTokenError) as refused:
        key_set(made, ALGORITHMS)
    assert refused.value.reason == expected


def test_one_kid_for_several_keys() -> None:
    """One kid may stand for keys of several uses or algorithms; the algorithm chooses, and never outside of the kid."""
    rsa_key, ec_key = rsa_jwk(kid="a"), ec_jwk(kid="a")
    encrypting = [rsa_jwk(kid="a", use="enc"), rsa_jwk(kid="a", alg="RSA-OAEP"), ec_jwk(kid="a", use="enc")]
    keys = key_set({"keys": [*encrypting, rsa_key, {"kty": "new", "kid": "a"}, ec_key, rsa_jwk()]}, ["RS256", "ES256"])
    assert {kid: set(same) for kid, same in keys.items()} == {"a": {"RS256", "ES256"}, "rsa-1": {"RS256"}}
    assert chosen(keys, "a", "ES256") == keys["a"]["ES256"]
    assert chosen(keys, "a", "RS256") == keys["a"]["RS256"]
    assert chosen(keys, "rsa-1", "ES256") == keys["rsa-1"]["RS256"], "which the verifier refuses: another algorithm"
    assert chosen(keys, "b", "RS256") is None


def test_keys_of_a_trust_domain() -> None:
    """Where a preset says so, `use: jwt-svid` signs; elsewhere it does not, and `x509-svid` never does."""
    members = [ec_jwk(kid="jwt", use="jwt-svid"), ec_jwk(kid="x509", use="x509-svid"), ec_jwk(kid="none")]
    del members[2]["use"]
    assert set(key_set({"keys": members}, ["ES256"], ("sig", "jwt-svid"))) == {"jwt", "none"}
    assert set(key_set({"keys": members}, ["ES256"])) == {"none"}


def test_thumbprint() -> None:
    # The key of RFC 7517 appendix A.1; its thumbprint was worked out with `openssl dgst` over the canonical JSON.
    """The thumbprint is that of RFC 7638, over the required members only."""
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    }
    assert thumbprint(jwk) == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
    assert thumbprint({**jwk, "kid": "any", "use": "sig"}) == thumbprint(jwk)


def test_pyjwt_ignores_use() -> None:
    """What we assume of PyJWT: it does not look at `use` and `key_ops`. If this fails, it has begun to."""
    for more in ({"use": "enc"}, {"key_ops": ["encrypt"]}):
        assert jwt.PyJWK(rsa_jwk(**more)).algorithm_name == "RS256"
