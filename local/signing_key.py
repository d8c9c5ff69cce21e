"""One signing key of one machine: an ES256 key, read from its PEM text."""

from __future__ import annotations

import json
from collections.abc import Mapping

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from chalicelib.tokens.errors import SigningKeyMalformed
from chalicelib.tokens.jwk import thumbprint, verifying_key
from chalicelib.tokens.verify import ISSUED_ALGORITHM


class SigningKey:
    """The key. pem: its text, in PKCS 8. Raises Unavailable if it is not a P-256 key."""

    def __init__(self, pem: str) -> None:
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
            raise SigningKeyMalformed(hint=str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SigningKeyMalformed
        self._key, self.pem = key, pem
        public: dict[str, str] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
        members = {name: public[name] for name in ("kty", "crv", "x", "y")}
        self.kid = thumbprint(members)
        self.public_jwk: Mapping[str, str] = {**members, "kid": self.kid, "use": "sig", "alg": ISSUED_ALGORITHM}
        self.verifying = verifying_key(self.public_jwk, [ISSUED_ALGORITHM])

    def __repr__(self) -> str:
        # SECURITY: the text is the private key (test_a_signing_key_s_repr_has_no_key).
        return f"SigningKey({self.kid})"

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new one."""
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(pem.decode())

    def sign(self, header: Mapping[str, str], claims: Mapping[str, object]) -> str:
        """Return the compact JWS."""
        return jwt.encode(dict(claims), self._key, algorithm=ISSUED_ALGORITHM, headers=dict(header))
