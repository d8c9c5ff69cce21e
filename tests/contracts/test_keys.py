"""The rules of `chalicelib.providers.versions.Keys`, whatever it is kept in."""

from __future__ import annotations

import pytest

from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.providers.keys import KeyConfig
from chalicelib.providers.versions import KeyInfo
from chalicelib.revocation import RevocationState
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, calls, grant, key_version, put_in_force


def _keys(adapters: Adapters) -> tuple[KeyInfo, ...]:
    return adapters.control.keys(samples.event("keys.read"))


def _set(adapters: Adapters, name: str, version: str) -> None:
    adapters.control.set_key(name, key_version(version), samples.event("key.set", key=name))


def _in_force(adapters: Adapters) -> str:
    read = adapters.edge_state.read_and_count(SIX, calls()).key
    assert read is not None
    assert adapters.control.key_config("openai") == read
    return read.version


def _events(adapters: Adapters, kind: str) -> int:
    return len(adapters.ledger.page(Query({"kind": kind})).events)


@pytest.fixture
def filled(adapters: Adapters) -> Adapters:
    """A store with a policy of two keys."""
    put_in_force(adapters.control, grant(), keys=("openai", "another"))
    return adapters


def test_without_a_policy_there_are_no_keys(adapters: Adapters) -> None:
    assert _keys(adapters) == ()


def test_keys_come_by_name_each_with_the_version_in_force(filled: Adapters) -> None:
    _set(filled, "openai", "v1")
    _set(filled, "openai", "v2")
    assert _keys(filled) == (KeyInfo("another", "openai", None), KeyInfo("openai", "openai", key_version("v2")))


def test_reading_keys_is_recorded(filled: Adapters) -> None:
    """Reading the keys leaves an event."""
    _keys(filled)
    assert _events(filled, "keys.read") == 1


def test_a_version_holds_from_the_next_call(filled: Adapters) -> None:
    """A version that is set holds from the next call on, and leaves an event."""
    assert _in_force(filled) == ""
    _set(filled, "openai", "v1")
    assert (_in_force(filled), _events(filled, "key.set")) == ("v1", 1)


def test_a_key_that_the_policy_does_not_name_cannot_be_set(filled: Adapters) -> None:
    with pytest.raises(Refusal) as caught:
        _set(filled, "nobody", "v1")
    assert (caught.value.reason, caught.value.error, caught.value.status) == ("no_such_key", "not_found", 404)
    assert _events(filled, "key.set") == 0
    put_in_force(filled.control, keys=("nobody",))
    assert _keys(filled) == (KeyInfo("nobody", "openai", None),)


def test_a_removed_key_cannot_be_set(filled: Adapters) -> None:
    """A key that left the policy is not listed and cannot be set."""
    _set(filled, "openai", "v1")
    put_in_force(filled.control, keys=("another",))
    assert [one.name for one in _keys(filled)] == ["another"]
    assert filled.control.key_config("openai") is None
    with pytest.raises(Refusal, match="no_such_key"):
        _set(filled, "openai", "v2")


def test_a_returning_key_has_its_version(filled: Adapters) -> None:
    """A key that left the policy and came back has the version that it had."""
    _set(filled, "openai", "v1")
    put_in_force(filled.control, keys=("another",), at=NOW + 1)
    put_in_force(filled.control, keys=("another", "openai"), at=NOW + 2)
    assert (_in_force(filled), _keys(filled)[1].current) == ("v1", key_version("v1"))


def test_setting_a_key_keeps_its_block_and_its_epoch(filled: Adapters) -> None:
    made = samples.revocation("key", "openai")
    filled.control.revoke(made, samples.event("revocation.made"))
    _set(filled, "openai", "v1")
    snapshot = filled.edge_state.read_and_count(SIX, calls())
    assert snapshot.states["key"] == RevocationState(1, ((made.id, None),))
    assert snapshot.key == KeyConfig("openai", "v1")


def test_a_revocation_keeps_the_version(filled: Adapters) -> None:
    _set(filled, "openai", "v1")
    filled.control.revoke(samples.revocation("key", "openai"), samples.event("revocation.made"))
    assert _in_force(filled) == "v1"
