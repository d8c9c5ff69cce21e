"""Our own issuer's keys in KMS: which sign, which are published, and since when. Over moto's KMS and tables."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import jwt
import pytest

from chalicelib.aws import clients
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.federation_jwks import KEY, published_keys
from chalicelib.aws.federation_keys import KmsFederationKeys
from chalicelib.errors import Unavailable
from chalicelib.federation.assertion import AHEAD_SECONDS, BEHIND_SECONDS, FederationKey
from chalicelib.federation.exchange import MintError
from tests import moto_kms
from tests.contracts import dynamodb_adapters, tables_template
from tests.contracts.dynamodb_adapters import patience
from tests.contracts.samples import NOW

CLAIMS = {"iss": "https://broker.example/federation", "aud": "https://api.anthropic.com", "jti": "j-1"}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    moto_kms.mend(monkeypatch)
    made = tables_template.create_tables(dynamodb_adapters.locked_moto(), "kb-federation-keys")
    try:
        with patience():
            yield made
    finally:
        for name in (made.control, made.counters, made.ledger):
            made.client.delete_table(TableName=name)


@pytest.fixture(scope="module")
def kms() -> Any:  # noqa: ANN401  botocore makes its classes as it goes
    dynamodb_adapters.locked_moto()
    return clients.make("kms", "us-east-1")


def key(kms: Any, spec: str = "ECC_NIST_P256") -> str:  # noqa: ANN401  as above
    arn: str = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def elliptic(kms: Any) -> str:  # noqa: ANN401  as above
    return key(kms)


@pytest.fixture(scope="module")
def rsa(kms: Any) -> str:  # noqa: ANN401  as above
    return key(kms, "RSA_2048")


def verified(tables: Tables, token: str, algorithm: str) -> Any:  # noqa: ANN401  claims
    """Verify as a provider does: by the published key that the header names."""
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "JWT"
    jwk = next(one for one in published_keys(tables) if one["kid"] == header["kid"])
    return jwt.decode(token, jwt.PyJWK(dict(jwk)), [algorithm], audience=CLAIMS["aud"], issuer=CLAIMS["iss"])


def kids(found: tuple[FederationKey, ...]) -> list[str]:
    return [one.kid for one in found]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_an_assertion_is_verified_by_what_is_published(
    tables: Tables,
    kms: Any,  # noqa: ANN401  as above
    elliptic: str,
    rsa: str,
    algorithm: str,
) -> None:
    """Each algorithm has its key, and what is published is public alone."""
    keys = KmsFederationKeys(lambda: kms, tables, [elliptic, rsa])
    assert verified(tables, keys.sign(CLAIMS, [algorithm], NOW), algorithm)["jti"] == "j-1"
    for one in published_keys(tables):
        assert one.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}


def test_the_preferred_algorithm_that_there_is_a_key_of(tables: Tables, kms: Any, elliptic: str, rsa: str) -> None:  # noqa: ANN401  as above
    """A provider that takes both is shown ES256; with an RSA key alone RS256; one that takes neither, nothing."""

    def algorithm(arns: list[str], *taken: str) -> str:
        token = KmsFederationKeys(lambda: kms, tables, arns).sign(CLAIMS, taken, NOW)
        return str(jwt.get_unverified_header(token)["alg"])

    assert algorithm([elliptic, rsa], "RS256", "ES256") == "ES256"
    assert algorithm([rsa], "RS256", "ES256") == "RS256"
    for arns, taken in (([elliptic], "RS256"), ([], "ES256"), ([elliptic, rsa], "ES384")):
        with pytest.raises(MintError, match="federation_key_missing") as caught:
            algorithm(arns, taken)
        assert caught.value.denied


def test_a_new_key_is_published_before_it_signs(tables: Tables, kms: Any, elliptic: str) -> None:  # noqa: ANN401  as above
    """The first one signs at once, its successor after the time for which key sets are kept; then the first goes."""
    successor = key(kms)
    [first] = kids(KmsFederationKeys(lambda: kms, tables, [elliptic]).published(NOW))
    # Also where the configuration names the new one first.
    for arns in ([elliptic, successor], [successor, elliptic]):
        keys = KmsFederationKeys(lambda: kms, tables, arns)
        assert kids(keys.published(NOW + 60))[0] == first
        assert len(published_keys(tables)) == 2
        signs = [
            jwt.get_unverified_header(keys.sign(CLAIMS, ["ES256"], NOW + 60 + after))["kid"] == first
            for after in (0, AHEAD_SECONDS - 1, AHEAD_SECONDS)
        ]
        assert signs == [True, True, False]
    late = NOW + 60 + AHEAD_SECONDS + BEHIND_SECONDS
    assert first in kids(keys.published(late - 1))
    assert first not in kids(keys.published(late))
    assert first not in kids(keys.published(late + 86_400)), "one that is over counts as new"


def test_a_key_taken_out_is_published_no_more(tables: Tables, kms: Any, elliptic: str, rsa: str) -> None:  # noqa: ANN401  as above
    """At once, also the last one."""
    assert len(KmsFederationKeys(lambda: kms, tables, [elliptic, rsa]).published(NOW)) == 2
    assert len(KmsFederationKeys(lambda: kms, tables, [rsa]).published(NOW)) == len(published_keys(tables)) == 1
    assert KmsFederationKeys(lambda: kms, tables, []).published(NOW) == ()
    assert published_keys(tables) == []


def test_without_a_key_nothing_is_written(tables: Tables, kms: Any) -> None:  # noqa: ANN401  as above
    assert KmsFederationKeys(lambda: kms, tables, []).published(NOW) == ()
    assert "Item" not in tables.client.get_item(TableName=tables.control, Key=KEY)


def test_what_is_published_is_written_once(tables: Tables, kms: Any, elliptic: str) -> None:  # noqa: ANN401  as above
    """Only a change is written, and a key's public half is read once."""
    asked: list[str] = []
    for client, service in ((tables.client, "dynamodb"), (kms, "kms")):
        client.meta.events.register(f"before-call.{service}", lambda model, **_: asked.append(model.name), "of-this")
    keys = KmsFederationKeys(lambda: kms, tables, [elliptic])
    for after in range(3):
        keys.published(NOW + after)
    for client, service in ((tables.client, "dynamodb"), (kms, "kms")):
        client.meta.events.unregister(f"before-call.{service}", unique_id="of-this")
    assert asked == ["GetItem", "GetPublicKey", "UpdateItem", "GetItem", "GetItem"]


def test_two_that_publish_at_once_keep_one_time(
    tables: Tables,
    kms: Any,  # noqa: ANN401  as above
    elliptic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who comes second reads again: a key's first time is never written over."""
    first, second = (KmsFederationKeys(lambda: kms, tables, [elliptic]) for _ in range(2))
    real = KmsFederationKeys._public

    def interrupted(self: KmsFederationKeys, arn: str) -> FederationKey:
        monkeypatch.setattr(KmsFederationKeys, "_public", real)
        first.published(NOW)
        return self._public(arn)

    monkeypatch.setattr(KmsFederationKeys, "_public", interrupted)
    assert [one.made for one in second.published(NOW + 600)] == [NOW]


@pytest.mark.parametrize("spec", ["ECC_NIST_P384", "ECC_SECG_P256K1"])
def test_a_key_of_another_kind_is_refused(tables: Tables, kms: Any, spec: str) -> None:  # noqa: ANN401  as above
    with pytest.raises(Unavailable) as caught:
        KmsFederationKeys(lambda: kms, tables, [key(kms, spec)]).published(NOW)
    assert caught.value.reason == "signing_key_malformed"
    assert published_keys(tables) == ()


class Away:
    """A KMS that answers with AWS's text, which quotes what was sent."""

    def __init__(self, kms: Any) -> None:  # noqa: ANN401  as above
        self.get_public_key = kms.get_public_key

    def sign(self, **asked: object) -> None:
        """Refuse."""
        said = {"Error": {"Code": "AccessDeniedException", "Message": f"quoted: {json.dumps(CLAIMS)} {asked}"}}
        raise botocore.exceptions.ClientError(said, "Sign")  # type: ignore[arg-type]  # as AWS has it


def test_an_assertion_is_in_no_log(tables: Tables, kms: Any, elliptic: str) -> None:  # noqa: ANN401  as above
    """What KMS refuses is AWS's word and no text."""
    with pytest.raises(Unavailable) as caught:
        KmsFederationKeys(lambda: Away(kms), tables, [elliptic]).sign(CLAIMS, ["ES256"], NOW)
    assert (caught.value.reason, caught.value.aws_code) == ("signing_unavailable", "AccessDeniedException")
    assert "quoted" not in "".join(traceback.format_exception(caught.value))
