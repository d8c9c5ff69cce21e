"""Which signing keys are published, as administrators see them."""

from __future__ import annotations

import pytest

from chalicelib.aws.signing_key_store import DynamoSigningKeyStore
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import MalformedRequest
from chalicelib.tokens.errors import NoSpareSigningKey
from tests.contracts.dynamodb_adapters import locked_moto
from tests.contracts.tables_template import create_tables


@pytest.mark.slow
def test_a_published_key_is_a_spare_one() -> None:
    """A key that is published and not known is the spare one; none is made, and none is deleted."""
    tables = create_tables(locked_moto(), "published")
    store = DynamoSigningKeyStore(tables)
    with pytest.raises(NoSpareSigningKey):
        store.spare(frozenset())
    for kid in ("kid-1", "kid-2"):
        DynamoSigningKeys(tables).publish({"kid": kid})
    store.keep_only(["kid-2"])
    assert (store.published(), store.spare(frozenset({"kid-1"}))) == (["kid-1", "kid-2"], "kid-2")
    with pytest.raises(NoSpareSigningKey):
        store.spare(frozenset({"kid-1", "kid-2"}))
    # A key that was retired stays published: which of two is the new one is not for the broker to guess.
    with pytest.raises(MalformedRequest) as refused:
        store.spare(frozenset({"kid-0"}))
    assert refused.value.description == "2 published signing keys are spare: name one by its kid"
