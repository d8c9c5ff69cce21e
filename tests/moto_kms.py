"""moto's KMS, mended: it signs a digest as if it were the message."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey


def mend(patch: pytest.MonkeyPatch) -> None:
    """Have it sign what the product sends, digests, as KMS does."""

    def sign(self: Any, message: bytes, signing_algorithm: str) -> bytes:  # noqa: ANN401  moto's key
        assert (len(message), signing_algorithm) == (32, "ECDSA_SHA_256")
        signature: bytes = self.private_key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return signature

    def sign_rsa(self: Any, message: bytes, signing_algorithm: str) -> bytes:  # noqa: ANN401  moto's key
        assert (len(message), signing_algorithm) == (32, "RSASSA_PKCS1_V1_5_SHA_256")
        signature: bytes = self.private_key.sign(message, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        return signature

    patch.setattr(ECDSAPrivateKey, "sign", sign)
    patch.setattr(RSAPrivateKey, "sign", sign_rsa)
