"""The KMS signer over moto, mended; over ministack, which signs digests as KMS does, see tests/integration/infra."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.aws import clients
from chalicelib.aws import signing as kms_signing
from chalicelib.aws.signing import KmsSigner, public_jwk, raw_signature
from chalicelib.errors import Unavailable
from chalicelib.tokens.errors import SigningUnavailable
from chalicelib.tokens.jwk import thumbprint, verifying_key
from tests import moto_kms

CLAIMS = {"iss": "https://broker.example.com", "aud": "openai", "scope": "POST:/v1/responses " * 400}
"""More than the 4,096 bytes that KMS would sign as they are."""


@pytest.fixture(scope="module")
def kms() -> Iterator[Any]:
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        moto_kms.mend(patch)
        client = clients.make("kms", "us-east-1")
        client.list_keys()
        yield client


def made(kms: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:  # noqa: ANN401  a client
    arn: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    return arn


def test_a_token_that_kms_signed_verifies_with_the_public_half(kms: Any) -> None:  # noqa: ANN401  a client
    key = made(kms)
    signer = KmsSigner(lambda: kms, key)
    token = signer.begin({"typ": "at+jwt", "kid": signer.kid()}, CLAIMS).result()
    public = verifying_key(public_jwk(kms, key), ["ES256"])
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "at+jwt", "kid": public.kid}
    assert jwt.decode(token, public.key, algorithms=["ES256"], audience="openai") == CLAIMS
    assert len(base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")) == 64


def test_the_kid_is_the_key_s_thumbprint_and_is_asked_for_once(kms: Any) -> None:  # noqa: ANN401  a client
    asked: list[str] = []
    kms.meta.events.register("before-call.kms.GetPublicKey", lambda model, **_: asked.append(model.name))
    signer = KmsSigner(lambda: kms, made(kms))
    kids = {signer.kid() for _ in range(3)}
    jwk = public_jwk(kms, signer._keys[0])
    assert kids == {thumbprint(jwk)} == {jwk["kid"]}
    assert asked == ["GetPublicKey"] * 2


@pytest.mark.parametrize("spec", ["ECC_NIST_P384", "ECC_SECG_P256K1", "RSA_2048"])
def test_a_key_of_another_kind_signs_nothing(kms: Any, spec: str) -> None:  # noqa: ANN401  a client
    with pytest.raises(Unavailable, match=r"^signing_key_malformed$"):
        KmsSigner(lambda: kms, made(kms, spec)).kid()


def test_a_key_that_is_not_there_signs_nothing(kms: Any) -> None:  # noqa: ANN401  a client
    signer = KmsSigner(lambda: kms, "arn:aws:kms:us-east-1:123456789012:key/none")
    with pytest.raises(Unavailable, match=r"^signing_unavailable$"):
        signer.kid()
    pending = signer.begin({"typ": "at+jwt"}, CLAIMS)
    with pytest.raises(Unavailable, match=r"^signing_unavailable$"):
        pending.result()


class _Fails:
    """A KMS that does not do what it is asked."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def sign(self, **_: object) -> Any:  # noqa: ANN401  whatever it is to be
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Sign")


@pytest.mark.parametrize(
    "answer",
    [DENIED, EndpointConnectionError(endpoint_url="kms"), {}, {"Signature": b""}, {"Signature": b"\x30\x03\x02\x01"}],
    ids=["denied", "unreachable", "empty", "no_signature", "cut_off"],
)
def test_a_failing_kms_signs_nothing(answer: object) -> None:
    """Whatever goes wrong at KMS, nothing is signed and the caller may try again."""
    pending = KmsSigner(lambda: _Fails(answer), "key").begin({}, CLAIMS)
    with pytest.raises(Unavailable, match=r"^signing_unavailable$") as caught:
        pending.result()
    assert caught.value.status == 503


def test_kms_is_waited_for_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kms_signing, "_SECONDS", 0.05)

    class Slow:
        def sign(self, **_: object) -> None:
            time.sleep(0.5)

    pending = KmsSigner(Slow, "key").begin({}, CLAIMS)
    with pytest.raises(Unavailable, match=r"^signing_unavailable$"):
        pending.result()


@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1))
def test_der_becomes_r_and_s_of_32_bytes_each(r: int, s: int) -> None:
    raw = raw_signature(utils.encode_dss_signature(r, s))
    assert (len(raw), int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")) == (64, r, s)


@given(st.binary(max_size=80))
def test_what_is_no_der_is_no_signature(octets: bytes) -> None:
    try:
        raw = raw_signature(octets)
    except (ValueError, OverflowError):
        return
    assert len(raw) == 64


def test_a_signature_of_a_longer_curve_is_refused() -> None:
    der = ec.generate_private_key(ec.SECP521R1()).sign(b"x", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(OverflowError):
        raw_signature(der)


class _Asked(_Fails):
    """The same, which notes what it was asked."""

    def sign(self, **asked: object) -> Any:  # noqa: ANN401  as above
        self.asked = asked
        return super().sign()


def test_a_permission_is_asked_for_without_a_signature() -> None:
    """Whether a role may sign is asked by a dry run, of nothing that could be a token."""
    kms = _Asked(ClientError({"Error": {"Code": "DryRunOperationException", "Message": "ok"}}, "Sign"))
    KmsSigner(lambda: kms, "key").check_permission()
    asked = kms.asked
    assert (asked["DryRun"], asked["Message"], asked["SigningAlgorithm"]) == (True, bytes(32), "ECDSA_SHA_256")


@pytest.mark.parametrize("answer", [DENIED, EndpointConnectionError(endpoint_url="kms")], ids=["denied", "unreachable"])
def test_a_denied_permission_is_told(answer: Exception) -> None:
    """A role that may not sign, and a KMS that does not answer, are told as such."""
    with pytest.raises(SigningUnavailable, match=r"^signing_unavailable$") as caught:
        KmsSigner(lambda: _Fails(answer), "key").check_permission()
    assert caught.value.aws_code == ("AccessDeniedException" if answer is DENIED else "")


def test_the_key_that_the_state_names_signs(kms: Any) -> None:  # noqa: ANN401  a client
    """Of several keys the first one signs, unless the state names another; each is read once, and only as far as needed."""
    asked: list[str] = []
    kms.meta.events.register("before-call.kms.GetPublicKey", lambda model, **_: asked.append(model.name))
    keys = [made(kms), made(kms)]
    kids = [public_jwk(kms, key)["kid"] for key in keys]
    asked.clear()
    signer = KmsSigner(lambda: kms, *keys)
    assert ([signer.kid(), signer.kid(kids[0])], len(asked)) == ([kids[0]] * 2, 1)
    assert ([signer.kid(kids[1]) for _ in range(3)], len(asked)) == ([kids[1]] * 3, 2)
    for kid, key in zip(kids, keys, strict=True):
        token = signer.begin({"typ": "at+jwt", "kid": kid}, CLAIMS).result()
        public = verifying_key(public_jwk(kms, key), ["ES256"])
        assert jwt.decode(token, public.key, algorithms=["ES256"], audience="openai") == CLAIMS


def test_a_key_that_is_not_configured_signs_nothing(kms: Any) -> None:  # noqa: ANN401  a client
    """Where the state names a key that the broker does not have, nothing is signed."""
    signer = KmsSigner(lambda: kms, made(kms), made(kms))
    with pytest.raises(SigningUnavailable, match=r"^signing_unavailable$") as caught:
        signer.kid("x" * 43)
    assert "none of the configured ones" in caught.value.hint
