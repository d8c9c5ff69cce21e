"""What stores keep of a policy, and what is read back."""

from __future__ import annotations

import json

import pytest

from chalicelib.policy import stored
from chalicelib.providers.keys import KeyConfig
from chalicelib.revocation import RevocationTarget
from chalicelib.tokens.key_list import SigningKeyList
from tests.contracts.samples import ISSUER, grant, issuer, policy


def text_of(ttl: int) -> str:
    return stored.configs(policy(grant()._replace(ttl=ttl)))[RevocationTarget("grant", "ci")]


def test_everything_a_policy_names_is_read_back_as_it_was() -> None:
    texts = stored.configs(policy(grant()))
    assert stored.read_grant(texts[RevocationTarget("grant", "ci")]) == grant()
    assert stored.read_issuer(texts[RevocationTarget("issuer", ISSUER)]) == issuer()
    assert stored.read_key(texts[RevocationTarget("key", "openai")]) == KeyConfig("openai")
    assert stored.read_signing_keys(SigningKeyList(("kid-1", "kid-2")).to_text()) == ("kid-1", "kid-2")


def test_aws_is_stored_with_every_policy_and_is_no_oidc_issuer() -> None:
    text = stored.configs(policy())[RevocationTarget("issuer", "aws")]
    with pytest.raises(KeyError, match="identity"):
        stored.read_issuer(text)


def test_a_key_s_version_is_read_from_its_text_or_from_beside_it() -> None:
    assert stored.read_key('{"provider": "openai", "version": "v1"}') == KeyConfig("openai", "v1")
    assert stored.read_key('{"provider": "openai"}', "v2") == KeyConfig("openai", "v2")


def test_a_key_that_is_federated_is_read_as_such() -> None:
    """Also from a text that has no version yet, in it or beside it; a text that does not say it is of a key that is not."""
    text = '{"provider": "openai", "federated": {"policy": "p"}}'
    assert stored.read_key(text) == KeyConfig("openai", "", is_federated=True)
    assert stored.read_key(text, "v2") == KeyConfig("openai", "v2", is_federated=True)
    assert not stored.read_key('{"provider": "openai"}').is_federated


def test_the_same_text_is_read_once() -> None:
    text = text_of(300)
    assert stored.read_grant(text) is stored.read_grant(json.loads(json.dumps(text)))


def test_a_text_is_never_taken_for_another_however_many_are_read() -> None:
    for ttl in range(300, 2_500):  # more than are kept
        assert stored.read_grant(text_of(ttl)).ttl == ttl
