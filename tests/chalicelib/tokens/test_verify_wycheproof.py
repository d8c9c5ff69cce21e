"""Project Wycheproof's vectors for JWS, JWK and mixed JOSE, against the verifier that every door uses.

Their payloads are no claims, so `decode` ends with `not_a_jwt` once a signature holds: that counts as accepted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.tokens import jws
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import ALGORITHMS, VerifyingKey, chosen, key_set, verifying_key
from chalicelib.tokens.jws import Unverified
from chalicelib.tokens.verify import decode

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "wycheproof"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the Wycheproof vectors are not beside this repository")

SIGNATURES, KEYS, MIXED = "json_web_signature_test", "json_web_key_test", "json_web_crypto_test"
ERRATA = {
    (SIGNATURES, 367): "marked invalid, yet byte for byte the valid 357",
    (SIGNATURES, 370): "marked invalid, yet byte for byte the valid 357",
    (SIGNATURES, 372): "marked valid, yet its header holds a `?`",
    (SIGNATURES, 373): "marked valid, yet its payload holds a `?`",
}
# Valid, and refused all the same: why, and which. A vector that leaves or joins a list changes what we accept.
REFUSED_THOUGH_VALID = {
    "symmetric keys are no issuer's": {
        *((SIGNATURES, number) for number in (1, 348, 352, 357, 358, 359, 376, 377)),
        *((KEYS, number) for number in (2, 13, 14, 15)),
        *((MIXED, number) for number in (1, 48)),
    },
    "the key's own alg is PS256, the token says PS384": {(SIGNATURES, 346), (SIGNATURES, 350)},
    "P-521 under the misspelt alg ES521": {(SIGNATURES, 347), (SIGNATURES, 351)},
    "encrypted": {(MIXED, 50), (MIXED, 67)},
}
COUNTS = {
    SIGNATURES: {"run": 397, "accepted": 32, "refused": 365},
    KEYS: {"run": 26, "accepted": 1, "refused": 25},
    MIXED: {"run": 83, "accepted": 2, "refused": 81},
}


@dataclass(frozen=True, eq=False)  # a key is no hashable value; each vector is its own
class Vector:
    """One vector. key: a JWK, or a JWKS. text: a compact token, or the JSON serialization, which nobody here reads."""

    file: str
    number: int
    valid: bool
    key: Mapping[str, Any]
    text: object

    @property
    def id(self) -> tuple[str, int]:
        """The file and the number in it."""
        return self.file, self.number


def read(file: str) -> Iterator[Vector]:
    for group in json.loads((FOLDER / f"{file}.json").read_text())["testGroups"]:
        key = group.get("public", group.get("private"))  # symmetric keys have a private half only
        for test in group["tests"]:
            text = test.get("jws", test.get("jwe"))
            yield Vector(file, test["tcId"], test["result"] == "valid", key, text)


def key_for(vector: Vector, kid: object, alg: str) -> VerifyingKey:
    if "keys" not in vector.key:
        return verifying_key(vector.key, ALGORITHMS)
    found = chosen(key_set(vector.key, ALGORITHMS), str(kid), alg)
    if found is None:
        raise InvalidTokenError("kid_unknown")
    return found


def refusal(vector: Vector) -> str | None:
    """Return why the verifier refuses a vector, or None if the signature holds."""
    try:
        if not isinstance(vector.text, str):
            raise InvalidTokenError("not_compact")
        header, _ = jws.split(vector.text)
        key = key_for(vector, header.get("kid"), str(header.get("alg")))
        decode(Unverified(vector.text, str(header.get("kid")), str(header.get("alg")), None, {}), key)
    except InvalidTokenError as invalid:
        return None if invalid.reason == "not_a_jwt" else invalid.reason
    raise AssertionError("a payload that is no claims became claims")


def run(file: str) -> dict[Vector, str | None]:
    return {vector: refusal(vector) for vector in read(file) if vector.id not in ERRATA}


@pytest.mark.parametrize("file", [SIGNATURES, KEYS, MIXED])
def test_no_invalid_vector_is_accepted(file: str) -> None:
    results = run(file)
    accepted = [vector for vector, reason in results.items() if reason is None]
    assert [vector.id for vector in accepted if not vector.valid] == []
    counts = {"run": len(results), "accepted": len(accepted), "refused": len(results) - len(accepted)}
    assert counts == COUNTS[file]


def test_refused_though_valid() -> None:
    """A valid vector is refused only for a reason that is listed."""
    results = {
        vector.id: reason for file in (SIGNATURES, KEYS, MIXED) for vector, reason in run(file).items() if vector.valid
    }
    listed = set[tuple[str, int]]().union(*REFUSED_THOUGH_VALID.values())
    assert {one for one, reason in results.items() if reason is not None} == listed
    words = {why: {results[one] for one in ones} for why, ones in REFUSED_THOUGH_VALID.items()}
    assert words == {
        "symmetric keys are no issuer's": {"key_type", "jwks_symmetric"},
        "the key's own alg is PS256, the token says PS384": {"alg_wrong"},
        "P-521 under the misspelt alg ES521": {"key_algorithm"},
        "encrypted": {"not_three_segments"},
    }


def test_refused_for_the_key() -> None:
    """What only its key gives away is refused for the key."""
    reasons = {vector.id: reason for file in (SIGNATURES, KEYS, MIXED) for vector, reason in run(file).items()}
    expected = {
        (SIGNATURES, 353): "key_use",
        (SIGNATURES, 354): "key_use",
        (SIGNATURES, 355): "key_ops",
        (SIGNATURES, 356): "key_ops",
        (KEYS, 1): "jwks_symmetric",
        (MIXED, 46): "key_roca",
        (MIXED, 47): "jwks_symmetric",
    }
    assert {one: reasons[one] for one in expected} == expected


def test_left_out_of_a_key_set() -> None:
    """A key that a set leaves out would be refused alone, for its fault."""
    faults = {}
    for vector in read(KEYS):
        members = vector.key["keys"]
        if len(members) == 1 and members[0]["kty"] != "oct":
            with_reason = Vector(vector.file, vector.number, vector.valid, members[0], vector.text)
            faults[vector.number] = refusal(with_reason)
    assert faults == {
        5: None,
        6: "key_use",
        7: "key_roca",
        8: "key_size",
        9: "key_exponent",
        19: "key_algorithm",
        20: "key_algorithm",
        21: "key_use",
        22: "key_malformed",
        23: "key_algorithm",
        24: "key_algorithm",
    }


def test_errata() -> None:
    """The vectors listed as errata are what the list says."""
    texts = {vector.id: vector.text for vector in read(SIGNATURES)}
    assert texts[SIGNATURES, 367] == texts[SIGNATURES, 370] == texts[SIGNATURES, 357]
    assert "?" in str(texts[SIGNATURES, 372])
    assert "?" in str(texts[SIGNATURES, 373])


def test_reasons_are_fixed_words() -> None:
    """Every reason for a refused signature is a fixed word."""
    found = Counter(reason for vector, reason in run(SIGNATURES).items() if reason)
    assert set(found) <= {
        "alg_wrong", "base64_malformed", "base64_not_canonical", "header_not_json", "key_algorithm", "key_in_header", "key_ops",
        "key_type", "key_use", "kid_wrong", "not_three_segments", "signature_missing", "signature_wrong",
    }  # fmt: skip
