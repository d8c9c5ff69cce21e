"""The broker's signing key in KMS: ES256 with a key that never leaves KMS. It signs while state is written."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import botocore.exceptions
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from chalicelib.aws import clients
from chalicelib.aws.errors import error_code
from chalicelib.tokens.errors import SigningKeyMalformed, SigningUnavailable
from chalicelib.tokens.jwk import thumbprint
from chalicelib.tokens.verify import ISSUED_ALGORITHM

KMS_ALGORITHM = "ECDSA_SHA_256"
"""What KMS calls ES256 (RFC 7518 section 3.4)."""
_SECONDS = 2 * clients.CALL_SECONDS
"""Seconds to wait for an answer: making the client and connecting included."""
_MEMBER_BYTES = 32
_FAILURES = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, TimeoutError)

_Answer = TypeVar("_Answer")

Client = Any
"""A client of KMS; there is no package of its types here."""

# Made at import, so that its threads survive the freezing of a Lambda; each call is bounded by itself.
_POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="kms")


class KmsSigner:
    """`chalicelib.tokens.signer.Signer`. client: called at the first use. key: the id or ARN of an ECC_NIST_P256 key."""

    def __init__(self, client: Callable[[], Client], key: str) -> None:
        self._client = functools.cache(client)
        self._key = key
        self._kid = ""

    def kid(self) -> str:
        """See `Signer.kid`. Read from KMS once; a key's public half never changes."""
        if not self._kid:
            read = _POOL.submit(lambda: public_jwk(self._client(), self._key)["kid"])
            self._kid = _waited(read, time.monotonic() + _SECONDS)
        return self._kid

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> PendingKmsSignature:
        """See `Signer.begin`: one request, of a second at most."""
        signed = f"{_encoded({'alg': ISSUED_ALGORITHM, **header})}.{_encoded(claims)}"
        return PendingKmsSignature(signed, _POOL.submit(self._sign, hashlib.sha256(signed.encode()).digest()))

    def check_permission(self) -> None:
        """Ask whether this role may sign, without a signature; raises Unavailable."""
        _waited(_POOL.submit(self._dry_run), time.monotonic() + _SECONDS)

    def _dry_run(self) -> None:
        try:
            self._client().sign(
                KeyId=self._key,
                Message=bytes(hashlib.sha256().digest_size),
                MessageType="DIGEST",
                SigningAlgorithm=KMS_ALGORITHM,
                DryRun=True,
            )
        except botocore.exceptions.ClientError as error:
            if error_code(error) != "DryRunOperationException":  # it would have been signed
                raise

    def _sign(self, digest: bytes) -> bytes:
        # The digest, not the text: KMS takes 4,096 bytes of text at most, and a grant's scope may be longer.
        answer = self._client().sign(
            KeyId=self._key, Message=digest, MessageType="DIGEST", SigningAlgorithm=KMS_ALGORITHM
        )
        return raw_signature(answer["Signature"])


class PendingKmsSignature:
    """A signature requested from KMS: `chalicelib.tokens.signer.PendingSignature`."""

    def __init__(self, signed: str, signature: Future[bytes]) -> None:
        self._signed, self._signature = signed, signature
        self._ends = time.monotonic() + _SECONDS

    def result(self) -> str:
        """See `PendingSignature.result`."""
        return f"{self._signed}.{_base64url(_waited(self._signature, self._ends))}"


def _waited(asked: Future[_Answer], ends: float) -> _Answer:
    """Return KMS's answer, or raise Unavailable if there is none by `ends` (monotonic)."""
    try:
        return asked.result(timeout=max(0.0, ends - time.monotonic()))
    except (*_FAILURES, ValueError, KeyError, OverflowError) as error:
        raise SigningUnavailable(aws_code=error_code(error)) from error
    finally:
        asked.cancel()  # an abandoned request must not delay the others


def raw_signature(der: bytes) -> bytes:
    """Return a DER signature in JWS form, r and s of 32 bytes each; raises ValueError or OverflowError if malformed."""
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(_MEMBER_BYTES, "big") + s.to_bytes(_MEMBER_BYTES, "big")


def public_jwk(client: Client, key: str) -> Mapping[str, str]:
    """Return the public half of a key in KMS, its thumbprint as `kid`.

    Raises Unavailable if KMS does not answer, or if the key does not sign ES256.
    """
    try:
        der = client.get_public_key(KeyId=key)["PublicKey"]
        public = serialization.load_der_public_key(der)
    except _FAILURES as error:
        raise SigningUnavailable(aws_code=error_code(error), hint=f"{key}: {type(error).__name__}") from error
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise SigningKeyMalformed(hint=f"{key}: its public half cannot be read") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise SigningKeyMalformed(hint=f"{key}: not an ECC_NIST_P256 key")
    point = public.public_numbers()
    x, y = (_base64url(one.to_bytes(_MEMBER_BYTES, "big")) for one in (point.x, point.y))
    members = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return {**members, "kid": thumbprint(members), "use": "sig", "alg": ISSUED_ALGORITHM}


def _encoded(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
