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
    """`chalicelib.tokens.signer.Signer`. client: called at the first use.

    keys: the ids or ARNs of ECC_NIST_P256 keys, the one that is configured first.
    """

    def __init__(self, client: Callable[[], Client], *keys: str) -> None:
        self._client = functools.cache(client)
        self._keys = keys
        self._by_kid: dict[str, str] = {}

    def kid(self, wanted: str = "") -> str:
        """See `Signer.kid`. Each is read from KMS once, as far as needed; a key's public half never changes."""
        ends = time.monotonic() + _SECONDS
        for key in self._keys[len(self._by_kid) :]:
            if wanted in self._by_kid or (self._by_kid and not wanted):
                break
            self._by_kid[_waited(_POOL.submit(self._kid, key), ends)] = key
        if wanted and wanted not in self._by_kid:
            raise SigningUnavailable(
                hint=f"the signing key {wanted}, which the state names, is none of the configured ones"
            )
        return wanted or next(iter(self._by_kid))

    def _kid(self, key: str) -> str:
        return public_jwk(self._client(), key)["kid"]

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> PendingKmsSignature:
        """See `Signer.begin`: one request, of a second at most."""
        signed = f"{_encoded({'alg': ISSUED_ALGORITHM, **header})}.{_encoded(claims)}"
        digest = hashlib.sha256(signed.encode()).digest()
        return PendingKmsSignature(signed, _POOL.submit(self._sign, self._key(header.get("kid", "")), digest))

    def _key(self, kid: str) -> str:
        """Return the key of a kid that `kid` has returned; the configured one for any other, whose tokens do not verify."""
        return self._by_kid.get(kid, self._keys[0])

    def check_permission(self, kid: str = "") -> None:
        """Ask whether this role may sign with a key, without a signature; raises Unavailable."""
        _waited(_POOL.submit(self._dry_run, self._key(kid)), time.monotonic() + _SECONDS)

    def _dry_run(self, key: str) -> None:
        try:
            self._client().sign(
                KeyId=key,
                Message=bytes(hashlib.sha256().digest_size),
                MessageType="DIGEST",
                SigningAlgorithm=KMS_ALGORITHM,
                DryRun=True,
            )
        except botocore.exceptions.ClientError as error:
            if error_code(error) != "DryRunOperationException":  # it would have been signed
                raise

    def _sign(self, key: str, digest: bytes) -> bytes:
        # The digest, not the text: KMS takes 4,096 bytes of text at most, and a grant's scope may be longer.
        answer = self._client().sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm=KMS_ALGORITHM)
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
