"""The thread that deletes replaced keys at their providers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chalicelib.admin import rotation_schedule
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import StateUnavailable
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.rotation import CREATING, OVERLAP, Management, Rotation
from chalicelib.providers.versions import KeyInfo, KeyVersion
from local.rotating import Rotating
from tests.chalicelib.rotation.account import Account, Everybodys, failing
from tests.http_door import admin_door
from tests.parts import NOW, Parts
from tests.running import wait_until

ORIGIN = "https://api.openai.com"


class Shelf:
    """A key in an overlap over real parts, and its provider's account."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.account = parts, Account()
        self.old = self.account.create("keybroker/broker.example/openai/r0/a")
        new = self.account.create("keybroker/broker.example/openai/r1/a")
        parts.provider_keys.put("openai", ProviderKey("v-new", ORIGIN, "authorization", "Bearer ", new.value))
        info = self.info()
        version = KeyVersion("v-new", ORIGIN, "authorization", "ada", NOW, "Bearer ", "openai", new.id)
        rotation = Rotation("r1", "ada", NOW, 60, step=OVERLAP, key_id=new.id, retiring=self.old.id, ends=NOW)
        management = Management("m1", ORIGIN, {}, "ada", NOW)
        after = replace(info, current=version.after(info.current), rotation=rotation, management=management)
        parts.control.change_key(info, after)

    def info(self) -> KeyInfo:
        """The key."""
        found = self.parts.control.key_info("openai")
        assert found is not None
        return found

    def ports(self) -> AdminPorts:
        """The administrators' ports, of which the account is this one."""
        return replace(self.parts.admin_ports(), accounts=Everybodys(self.account))  # type: ignore[arg-type]  # of the same form


@pytest.fixture
def shelf(parts: Parts) -> Shelf:
    """The shelf."""
    return Shelf(parts)


def test_what_is_due_is_deleted(shelf: Shelf) -> None:
    """Once the overlap has ended the key before is deleted, without anybody asking, and the audit says by whom."""
    with Rotating(shelf.ports, 0.02).running():
        wait_until(lambda: shelf.info().rotation is None)
    assert shelf.old.id not in shelf.account.live
    [event] = shelf.parts.events(kind="key.retired")
    assert (event.actor, event.key, event.detail["deleted"]) == ("schedule", "openai", shelf.old.id)


@pytest.mark.parametrize("change", [{"ends": NOW + 1}, {"step": CREATING}, {"attempt": "x", "held_until": NOW + 1}])
def test_what_is_not_due_is_left(shelf: Shelf, change: dict[str, object]) -> None:
    """An overlap that goes on, a key that is being made, and what someone is at work on are left alone."""
    info = shelf.info()
    assert info.rotation is not None
    changed: Rotation = replace(info.rotation, **change)  # type: ignore[arg-type]  # members of it
    shelf.parts.control.change_key(info, replace(info, rotation=changed))
    assert rotation_schedule.retire_due(shelf.ports()) == {}
    assert shelf.old.id in shelf.account.live


def test_a_provider_that_fails_is_asked_again(shelf: Shelf) -> None:
    """A provider that does not delete the key is asked again the next time."""
    shelf.account.before = failing("delete")
    assert rotation_schedule.retire_due(shelf.ports()) == {"openai": "status_500"}
    assert rotation_schedule.retire_due(shelf.ports()) == {"openai": "retired"}


@pytest.mark.parametrize("fault", [StateUnavailable(), ValueError("sk-secret")])
def test_a_fault_ends_no_looking(shelf: Shelf, caplog: pytest.LogCaptureFixture, fault: Exception) -> None:
    """Whatever goes wrong is a line of the log, without its text, and the next look comes."""
    faults = [fault]

    def ports() -> AdminPorts:
        if faults:
            raise faults.pop()
        return shelf.ports()

    with Rotating(ports, 0.02).running():
        wait_until(lambda: shelf.info().rotation is None)
    reasons = [json.loads(one.message)["reason"] for one in caplog.records if one.message.startswith("{")]
    assert reasons[0] in {"rotation_state_unavailable", "rotation_ValueError"}
    assert "sk-secret" not in caplog.text


def test_no_request_is_the_schedule_s(shelf: Shelf) -> None:
    """The schedule's event retires what is due; a request with the same body does not."""
    door = admin_door(shelf.parts, accounts=Everybodys(shelf.account))
    body = dict(rotation_schedule.EVENT)
    assert door.ask("POST", "/admin/revocations", body).status == 403
    assert door.administer("POST", "/admin/revocations", body).status == 400
    assert shelf.info().rotation is not None
    assert door.app(dict(rotation_schedule.EVENT), None) == {"openai": "retired"}
    assert shelf.info().rotation is None
