"""Who vouches for the minter's function: AWS unless a key says the broker, an App's key by its alias, and the role for Bedrock."""

from __future__ import annotations

import hashlib
from typing import Any

import botocore.exceptions
import pytest

from chalicelib.aws import bedrock_token, web_identity
from chalicelib.aws.federation_keys import KmsFederationKeys
from chalicelib.aws.kms_means import KmsMeans, Parts, app_alias
from chalicelib.errors import Unavailable
from chalicelib.federation.exchange import MintError
from chalicelib.providers.versions import KeyInfo

NOW = 1_800_000_000


class Kms:
    """Signs, or refuses with AWS's word. asked: for what."""

    def __init__(self, refusal: str = "") -> None:
        self._refusal = refusal
        self.asked: dict[str, Any] = {}

    def sign(self, **asked: Any) -> dict[str, bytes]:  # noqa: ANN401  botocore's
        """See KMS."""
        self.asked = asked
        if self._refusal:
            raise botocore.exceptions.ClientError({"Error": {"Code": self._refusal}}, "Sign")
        return {"Signature": b"signature"}


def means(kms: Kms, **federated: str) -> KmsMeans:
    info = KeyInfo("key", "openai", None, federated=federated)
    keys = KmsFederationKeys(lambda: kms, None, [])  # type: ignore[arg-type]  # not asked
    parts = Parts(keys, lambda: kms, "https://broker.example", "kb", "eu-central-1", lambda: NOW, lambda: "id")
    return parts.means(info, lambda _jti: None)


def test_aws_vouches_unless_a_key_says_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """STS is asked in the function's own region, and no key of ours."""
    asked: list[tuple[object, ...]] = []

    def assertion(*arguments: object) -> str:
        asked.append(arguments)
        return "token"

    monkeypatch.setattr(web_identity, "assertion", assertion)
    kms = Kms()
    assert means(kms, identity="aws-sts").assertion("https://api.openai.com/v1", 3600, ("RS256",)) == "token"
    assert asked == [("https://api.openai.com/v1", 3600, ("RS256",), "eu-central-1")]
    assert kms.asked == {}


def test_an_app_s_token_is_signed_by_its_alias() -> None:
    """With the digest, by RS256; the alias is of this installation and the App's client id."""
    kms = Kms()
    head, claims, signature = means(kms).app_token({"iss": "Iv23.abc"}).split(".")
    assert kms.asked["KeyId"] == app_alias("kb", "Iv23.abc") == "alias/kb-app-Iv23-abc"
    assert kms.asked["Message"] == hashlib.sha256(f"{head}.{claims}".encode()).digest()
    assert kms.asked["SigningAlgorithm"] == "RSASSA_PKCS1_V1_5_SHA_256"
    assert signature == "c2lnbmF0dXJl"


def test_an_app_without_a_key_is_told_so() -> None:
    """Only that it is not there is for people to mend; any other refusal of KMS's is ours, and passes perhaps."""
    with pytest.raises(MintError, match="app_key_missing") as caught:
        means(Kms("NotFoundException")).app_token({"iss": "Iv23"})
    assert caught.value.denied
    with pytest.raises(Unavailable, match="signing_unavailable"):
        means(Kms("AccessDeniedException")).app_token({"iss": "Iv23"})


def test_a_bedrock_token_is_of_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedrock_token, "make", lambda *arguments: arguments)
    assert means(Kms()).bedrock_token("us-east-1", "arn:role", 900) == ("us-east-1", "arn:role", 900, NOW)  # type: ignore[comparison-overlap]  # what it was asked
