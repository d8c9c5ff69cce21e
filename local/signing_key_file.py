"""The broker's signing key on one machine: an ES256 key in a file of mode 0600."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from chalicelib.tokens.errors import InvalidTokenError, SigningKeyMalformed
from chalicelib.tokens.jwk import VerifyingKey, thumbprint, verifying_key
from chalicelib.tokens.verify import ISSUED_ALGORITHM
from local import sealed_file


class SigningKey:
    """Signs issued tokens (`chalicelib.tokens.signer.Signer`) and verifies them (`chalicelib.tokens.issued.SigningKeys`)."""

    def __init__(self, path: Path) -> None:
        """Read the key; raises Unavailable if the file is missing, readable by others, or not a P-256 key."""
        try:
            key = serialization.load_pem_private_key(sealed_file.read(path).encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
            raise SigningKeyMalformed(hint=str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SigningKeyMalformed
        self._key = key
        public: dict[str, str] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
        members = {name: public[name] for name in ("kty", "crv", "x", "y")}
        self.public_jwk: Mapping[str, str] = {
            **members,
            "kid": thumbprint(members),
            "use": "sig",
            "alg": ISSUED_ALGORITHM,
        }
        self._verifying = verifying_key(self.public_jwk, [ISSUED_ALGORITHM])

    @staticmethod
    def create(path: Path) -> SigningKey:
        """Create the key unless it exists, and read it."""
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        sealed_file.write_once(path, pem.decode())
        sealed_file.seal(path)
        return SigningKey(path)

    def kid(self) -> str:
        """See `Signer.kid`."""
        return self._verifying.kid

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> SignedToken:
        """See `Signer.begin`; here the signature is made at once."""
        return SignedToken(jwt.encode(dict(claims), self._key, algorithm=ISSUED_ALGORITHM, headers=dict(header)))

    def find(self, kid: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's; the key in a file never changes
        """See `SigningKeys.find`."""
        if kid != self._verifying.kid:
            raise InvalidTokenError("kid_unknown")
        return self._verifying


class SignedToken:
    """A signature that is already made: `chalicelib.tokens.signer.PendingSignature`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def result(self) -> str:
        """See `PendingSignature.result`."""
        return self._text
