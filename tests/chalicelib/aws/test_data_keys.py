"""Data keys over moto, and over sockets that are no KMS."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config
from moto import mock_aws

from chalicelib.aws import clients, data_keys
from chalicelib.aws.data_keys import DataKeyFaultError, DataKeys

ARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = {"keybroker-file": "a.json"}


@pytest.fixture
def kms() -> Iterator[Any]:
    """A client of moto's KMS."""
    with mock_aws():
        yield clients.patient("kms", "us-east-1")


def made(kms: Any) -> str:  # noqa: ANN401  a client
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


def refusal(keys: DataKeys, wrapped: bytes = b"x", context: dict[str, str] = CONTEXT) -> tuple[str, bool]:
    """Return the word for which a key was not unwrapped, and whether trying again helps nothing."""
    with pytest.raises(DataKeyFaultError) as caught:
        keys.unwrap(wrapped, context)
    assert caught.value.__cause__ is None
    return str(caught.value), caught.value.refused


def test_a_data_key_comes_back(kms: Any) -> None:  # noqa: ANN401  a client
    """A data key is unwrapped to what it was, in its context alone, and each is another."""
    keys = DataKeys(made(kms))
    one, other = keys.new(CONTEXT), keys.new(CONTEXT)
    assert len({one.plain, other.plain, one.wrapped, other.wrapped}) == 4
    assert one.plain not in one.wrapped
    assert keys.unwrap(one.wrapped, CONTEXT) == one.plain
    assert refusal(keys, one.wrapped, {"keybroker-file": "b.json"}) == ("InvalidCiphertextException", True)
    assert refusal(keys, one.wrapped[:40]) == ("InvalidCiphertextException", True)


class Kms:
    """A client that answers, or raises, one thing, and keeps what it was asked."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def decrypt(self, **members: Any) -> object:  # noqa: ANN401  as botocore has it
        self.asked.append(members)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_another_key_wrapped_is_refused() -> None:
    """KMS is told by which key it is to unwrap, so that it refuses what another one wrapped."""
    kms = Kms({"Plaintext": b"k" * 32})
    DataKeys(ARN, lambda *_: kms).unwrap(b"wrapped", CONTEXT)
    assert kms.asked == [{"KeyId": ARN, "CiphertextBlob": b"wrapped", "EncryptionContext": CONTEXT}]


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("AccessDeniedException", True),
        ("DisabledException", True),
        ("IncorrectKeyException", True),
        ("KMSInvalidStateException", True),
        ("NotFoundException", True),
        ("ExpiredTokenException", True),
        ("KMSInternalException", False),
        ("ThrottlingException", False),
        ("KeyUnavailableException", False),
    ],
)
def test_a_refusal_quotes_nothing(code: str, refused: bool) -> None:  # noqa: FBT001  a table's column
    """Of what KMS says, only its word is kept; it tells whether trying again can help."""
    said: Any = {"Error": {"Code": code, "Message": "User: arn:aws:iam::1:user/ada sent sk-real"}}
    kms = Kms(botocore.exceptions.ClientError(said, "Decrypt"))
    assert refusal(DataKeys(ARN, lambda *_: kms)) == (code, refused)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (botocore.exceptions.NoCredentialsError(), True),
        (botocore.exceptions.ProfileNotFound(profile="x"), True),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), False),
        (botocore.exceptions.SSLError(endpoint_url="x", error=OSError()), False),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), False),
        (botocore.exceptions.CredentialRetrievalError(provider="x", error_msg=""), False),
    ],
)
def test_what_botocore_says(error: Exception, refused: bool) -> None:  # noqa: FBT001  a table's column
    """A network that fails is tried again; a set-up that is wrong has to be mended."""
    assert refusal(DataKeys(ARN, lambda *_: Kms(error))) == (type(error).__name__, refused)


@pytest.mark.parametrize("answer", [None, {}, {"Plaintext": "text"}, {"Plaintext": b""}, {"Plaintext": b"k" * 16}])
def test_an_answer_of_another_shape_is_no_key(answer: object) -> None:
    assert refusal(DataKeys(ARN, lambda *_: Kms(answer))) == ("an answer of another shape", False)


@pytest.mark.parametrize(
    "arn",
    ["", "1234abcd-12ab-34cd-56ef-1234567890ab", "alias/x", ARN.replace("key/", "alias/"), ARN.replace("kms", "s3"), f"{ARN}\n"],
)  # fmt: skip
def test_the_key_itself_is_named(arn: str) -> None:
    """An alias, which may come to name another key, and anything else that is no key's ARN, is refused."""
    with pytest.raises(ValueError, match="not the ARN of a KMS key"):
        DataKeys(arn)


def test_a_silent_kms_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KMS that takes the request and says nothing is given up in time, whatever botocore would wait."""
    monkeypatch.setattr(data_keys, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        session = botocore.session.get_session()
        session.set_credentials("AKIAEXAMPLE", "made-up")
        keys = DataKeys(
            ARN,
            lambda service, region: session.create_client(
                service,
                region_name=region,
                endpoint_url=url,
                config=Config(read_timeout=1, retries={"total_max_attempts": 1}),
            ),
        )
        began = time.monotonic()
        assert refusal(keys) == ("no answer within 0 seconds", False)
        assert time.monotonic() - began < 1
