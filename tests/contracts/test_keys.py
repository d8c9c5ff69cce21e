"""The rules of `chalicelib.providers.versions.Keys`, whatever it is kept in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.audit import Query
from chalicelib.errors import Refusal
from chalicelib.providers.keys import KeyConfig
from chalicelib.providers.rotation import Management, Rotation
from chalicelib.providers.versions import KeyInfo
from chalicelib.revocation import RevocationState
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, SIX, calls, grant, key_version, put_in_force
from tests.every_event import every_event


def _keys(adapters: Adapters) -> tuple[KeyInfo, ...]:
    return adapters.control.keys(samples.event("keys.read"))


def _set(adapters: Adapters, name: str, version: str) -> None:
    adapters.control.set_key(name, key_version(version), samples.event("key.set", key=name))


def _in_force(adapters: Adapters) -> str:
    read = adapters.edge_state.read_and_count(SIX, calls()).key
    assert read is not None
    assert adapters.control.key_info("openai") == KeyInfo(
        "openai", read.provider, key_version(read.version) if read.version else None
    )
    return read.version


def _events(adapters: Adapters, kind: str) -> int:
    return len(every_event(adapters.ledger, Query({"kind": kind})))


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


def test_a_key_says_when_it_is_due(adapters: Adapters) -> None:
    """What the policy says of a key's age is listed with it, whether or not its value was set, until it says otherwise."""
    for number, due in enumerate(({"openai": 86_400}, {"openai": 172_800}, {})):
        made = replace(samples.policy(), rotate_after=due)
        adapters.control.apply(made, "the text", number, samples.event("policy.applied"))
        if not number:
            _set(adapters, "openai", "v1")
        info = KeyInfo("openai", "openai", key_version("v1"), due.get("openai"))
        assert (_keys(adapters), adapters.control.key_info("openai")) == ((info,), info)
        assert info.due() == (key_version("v1").at + due["openai"] if due else None)


def test_reading_keys_is_recorded(filled: Adapters) -> None:
    """Reading the keys leaves an event, but for the schedule, which reads the same."""
    assert filled.control.known_keys() == _keys(filled)
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


@pytest.mark.parametrize("replaces", ["", "v0", "v2"])
def test_only_the_version_that_was_seen_is_replaced(filled: Adapters, replaces: str) -> None:
    """A version that is to replace another than the one in force is refused, and leaves no event."""
    filled.control.set_key("openai", key_version("v1"), samples.event("key.set"), "")
    with pytest.raises(Refusal, match="key_changed") as caught:
        filled.control.set_key("openai", key_version("v2"), samples.event("key.set"), replaces)
    assert caught.value.status == 409
    assert (_in_force(filled), _events(filled, "key.set")) == ("v1", 1)
    filled.control.set_key("openai", key_version("v2"), samples.event("key.set"), "v1")
    assert (_in_force(filled), _events(filled, "key.set")) == ("v2", 2)


def test_a_version_is_read_back_whole(filled: Adapters) -> None:
    """A version is read back with the prefix and the provider that it was set with."""
    whole = replace(key_version("v1"), prefix="Token ", provider="openai")
    filled.control.set_key("openai", whole, samples.event("key.set"))
    assert _keys(filled)[1].current == whole
    assert "prefix" not in whole.shown()


def test_unknown_key_is_not_a_changed_one(filled: Adapters) -> None:
    """A key that the policy does not name is a 404, whatever it is to replace."""
    with pytest.raises(Refusal, match="no_such_key"):
        filled.control.set_key("nobody", key_version("v1"), samples.event("key.set"), "v0")


def test_a_removed_key_cannot_be_set(filled: Adapters) -> None:
    """A key that left the policy is not listed and cannot be set."""
    _set(filled, "openai", "v1")
    put_in_force(filled.control, keys=("another",))
    assert [one.name for one in _keys(filled)] == ["another"]
    assert filled.control.key_info("openai") is None
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


ROTATION = Rotation("r1", "ada", NOW, 3600)
MANAGEMENT = Management("m1", "https://api.example", {"project": "p1"}, "ada", NOW)


def _info(adapters: Adapters) -> KeyInfo:
    found = adapters.control.key_info("openai")
    assert found is not None
    return found


def test_what_replaces_a_key_is_kept_with_it(filled: Adapters) -> None:
    """Version, rotation and management change at once, with their event, and are read back whole; and go again."""
    never = _info(filled)
    whole = replace(never, current=key_version("v1"), rotation=ROTATION, management=MANAGEMENT)
    filled.control.change_key(never, whole, samples.event("key.rotated"))
    assert (_info(filled), _events(filled, "key.rotated")) == (whole, 1)
    assert filled.control.keys(samples.event("keys.read"))[1] == whole
    assert filled.edge_state.read_and_count(SIX, calls()).key == KeyConfig("openai", "v1")
    later = replace(whole, current=key_version("v2").after(whole.current), rotation=replace(ROTATION, step="overlap"))
    filled.control.change_key(whole, later)
    assert _info(filled) == later
    assert later.current is not None
    assert later.current.before == key_version("v1")
    gone = replace(later, rotation=None, management=None)
    filled.control.change_key(later, gone)
    assert (_info(filled), _events(filled, "key.rotated")) == (gone, 1)


@pytest.mark.parametrize("meanwhile", ["version", "rotation", "management"])
def test_a_key_is_changed_as_it_was_seen(filled: Adapters, meanwhile: str) -> None:
    """What anybody has changed meanwhile is not written over, and there is no event of it."""
    seen = _info(filled)
    changes = {
        "version": replace(seen, current=key_version("v1")),
        "rotation": replace(seen, rotation=ROTATION),
        "management": replace(seen, management=MANAGEMENT),
    }
    filled.control.change_key(seen, changes[meanwhile])
    with pytest.raises(Refusal, match="key_changed"):
        filled.control.change_key(
            seen, replace(seen, rotation=replace(ROTATION, id="r2")), samples.event("key.rotated")
        )
    assert (_info(filled), _events(filled, "key.rotated")) == (changes[meanwhile], 0)


def test_setting_a_key_leaves_its_rotation(filled: Adapters) -> None:
    """A value that is set by hand changes nothing of how the key is replaced; one that is not named has nothing to change."""
    seen = _info(filled)
    filled.control.change_key(seen, replace(seen, rotation=ROTATION, management=MANAGEMENT))
    _set(filled, "openai", "v1")
    assert (_info(filled).rotation, _info(filled).management) == (ROTATION, MANAGEMENT)
    with pytest.raises(Refusal, match="no_such_key"):
        filled.control.change_key(replace(seen, name="nobody"), replace(seen, name="nobody", rotation=ROTATION))
