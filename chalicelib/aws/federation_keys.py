"""The keys of our own issuer `/federation` in KMS, which never leave it, and when each was first published."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import botocore.exceptions
from botocore.exceptions import ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from chalicelib.aws.dynamodb import Tables, as_unavailable, read_item
from chalicelib.aws.errors import error_code
from chalicelib.aws.federation_jwks import KEY
from chalicelib.aws.items import Item, text
from chalicelib.aws.signing import raw_signature
from chalicelib.errors import StateUnavailable
from chalicelib.federation import assertion
from chalicelib.federation.assertion import FederationKey
from chalicelib.federation.exchange import MintError
from chalicelib.providers.federated import BROKER, SIGNED_BY
from chalicelib.tokens.errors import SigningKeyMalformed, SigningUnavailable
from chalicelib.tokens.jwk import thumbprint

KMS_ALGORITHMS: Final[Mapping[str, str]] = {"ES256": "ECDSA_SHA_256", "RS256": "RSASSA_PKCS1_V1_5_SHA_256"}
"""What KMS calls them (RFC 7518, section 3)."""
_TRIES: Final = 3

Client = Any
"""A client of KMS; there is no package of its types here."""


class KmsFederationKeys:
    """Signs assertions, and publishes with which keys. arns: of keys of ECC_NIST_P256 or RSA_2048, an older one first.

    To replace a key, its successor is added; it signs once it was published for long enough. The older one is taken out of
    the configuration hours later. One that is taken out is published no more from the next minute on.
    """

    def __init__(self, client: Callable[[], Client], tables: Tables, arns: Sequence[str]) -> None:
        """client: called at the first use."""
        self._client, self._tables, self._arns = functools.cache(client), tables, tuple(arns)
        self._known: dict[str, FederationKey] = {}

    def published(self, now: int) -> tuple[FederationKey, ...]:
        """Return the keys that are published, once the table says so; raises Unavailable. now: epoch seconds."""
        for _ in range(_TRIES):
            item = read_item(self._tables, KEY)
            made = {str(kid): int(at) for kid, at in json.loads(text(item, "made") or "{}").items()}
            public = [self._public(arn) for arn in self._arns]
            # In the order in which they were made, whatever that of the configuration is.
            every = sorted((one._replace(made=made.get(one.kid, now)) for one in public), key=lambda one: one.made)
            listed = assertion.published(every, now)
            if self._wrote(item, every, listed):
                return listed
        raise StateUnavailable

    def sign(self, claims: Mapping[str, object], algorithms: Sequence[str], now: int) -> str:
        """Return claims signed with the first of our algorithms that is one of these; raises MintError, Unavailable."""
        keys = self.published(now)
        for algorithm in SIGNED_BY[BROKER]:
            key = assertion.signing(keys, algorithm, now) if algorithm in algorithms else None
            if key is not None:
                arn = next(arn for arn, one in self._known.items() if one.kid == key.kid)
                return signed(self._client(), arn, claims, {"alg": algorithm, "kid": key.kid, "typ": "JWT"})
        raise MintError("federation_key_missing", denied=True)

    def _public(self, arn: str) -> FederationKey:
        """Return the public half of a key, which never changes: it is read once."""
        if arn not in self._known:
            self._known[arn] = _read(self._client(), arn)
        return self._known[arn]

    def _wrote(self, item: Item, every: Sequence[FederationKey], listed: Sequence[FederationKey]) -> bool:
        """Write what is published unless that is what the item says; False if another has written meanwhile."""
        # Also those that are over, as long as they are configured: they must not count as new.
        values = {
            "jwks": json.dumps([one.jwk for one in listed]),
            "made": json.dumps({one.kid: one.made for one in every}),
        }
        was = {name: text(item, name) for name in values}
        if was == values or not (every or was["jwks"]):
            return True
        same = [f"{name} = :was_{name}" if was[name] else f"attribute_not_exists({name})" for name in values]
        found = {f":was_{name}": {"S": one} for name, one in was.items() if one}
        try:
            with as_unavailable():
                self._tables.client.update_item(
                    TableName=self._tables.control,
                    Key=KEY,
                    UpdateExpression="SET jwks = :jwks, made = :made",
                    ConditionExpression=" AND ".join(same),
                    ExpressionAttributeValues={**{f":{name}": {"S": one} for name, one in values.items()}, **found},
                )
        except ClientError:  # of the condition; any other is raised as Unavailable
            return False
        return True


def signed(client: Client, key: str, claims: Mapping[str, object], header: Mapping[str, str]) -> str:
    """Return a JWT that a key in KMS signs with the header's `alg`; raises Unavailable. key: its ARN or alias."""
    content = f"{_encoded(header)}.{_encoded(claims)}"
    try:
        # The digest, not the text: KMS takes 4,096 bytes of text at most.
        answer = client.sign(
            KeyId=key,
            Message=hashlib.sha256(content.encode()).digest(),
            MessageType="DIGEST",
            SigningAlgorithm=KMS_ALGORITHMS[header["alg"]],
        )
        found = answer["Signature"]
        signature = raw_signature(found) if header["alg"] == "ES256" else found
    except (ClientError, botocore.exceptions.BotoCoreError, ValueError, KeyError, OverflowError) as error:
        # SECURITY: no cause, since AWS's text can quote what was sent (test_an_assertion_is_in_no_log).
        raise SigningUnavailable(aws_code=error_code(error)) from None
    return f"{content}.{_base64url(signature)}"


def _read(client: Client, arn: str) -> FederationKey:
    try:
        public = serialization.load_der_public_key(client.get_public_key(KeyId=arn)["PublicKey"])
    except (ClientError, botocore.exceptions.BotoCoreError) as error:
        raise SigningUnavailable(aws_code=error_code(error), hint=f"{arn}: {type(error).__name__}") from None
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise SigningKeyMalformed(hint=f"{arn}: its public half cannot be read") from None
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
        algorithm, found = "RS256", RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        algorithm, found = "ES256", ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        raise SigningKeyMalformed(hint=f"{arn}: neither an ECC_NIST_P256 nor an RSA_2048 key")
    members = {name: str(value) for name, value in found.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    kid = thumbprint(members)
    return FederationKey(kid, algorithm, 0, {**members, "kid": kid, "alg": algorithm, "use": "sig"})


def _encoded(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
