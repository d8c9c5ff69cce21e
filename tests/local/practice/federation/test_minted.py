from __future__ import annotations

from local.practice.federation.minted import MintedTokens, jwt_like, opaque
from tests import forge


def test_a_token_is_accepted_until_its_end() -> None:
    minted = MintedTokens()
    minted.mint("a", "account", 100)
    assert minted.accepts("a", 99.9)
    assert not minted.accepts("a", 100)
    assert not minted.accepts("b", 0)


def test_a_revoked_token_is_refused() -> None:
    """A token is revoked alone, or with all of its account."""
    minted = MintedTokens()
    for value, account in (("a", "one"), ("b", "two"), ("c", "two")):
        minted.mint(value, account, 100)
    assert minted.revoke("a")
    assert not minted.revoke("unknown")
    assert [minted.accepts(one, 0) for one in "abc"] == [False, True, True]
    minted.revoke_account("two")
    assert [minted.accepts(one, 0) for one in "abc"] == [False, False, False]


def test_no_two_tokens_are_the_same() -> None:
    assert opaque("x-") != opaque("x-")
    one, other = jwt_like({"sub": "a"}), jwt_like({"sub": "a"})
    assert one != other
    assert forge.claims_of(one)["sub"] == "a"


def test_a_value_is_not_in_the_representation() -> None:
    assert "secret" not in repr(MintedTokens().mint("secret", "account", 100))
