"""Replacing a provider key: what is in force works at every instant, and at the end one key with our name is left."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace

import pytest

from chalicelib.audit import Event
from chalicelib.errors import Refusal, StateUnavailable, StateUncertain, Unavailable
from chalicelib.providers.errors import ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.rotation import CREATING, HELD_SECONDS, OVERLAP, Management, Rotation
from chalicelib.providers.versions import KeyInfo, KeyVersion
from chalicelib.rotation.rotate import Rotator
from local.provider_keys import LocalProviderKeys
from tests.chalicelib.rotation.account import Account, KilledError, failing
from tests.parts import NOW, Parts

NAME = "keybroker/broker.example/openai/"
MANAGEMENT = Management("m1", "https://api.openai.com", {}, "ada", NOW)


class Watched(LocalProviderKeys):
    """The keys, with the account told of each write as of its own steps."""

    account: Account

    def change_key(self, before: KeyInfo, after: KeyInfo, event: Event | None = None) -> None:
        """See `Keys.change_key`."""
        step = "promote" if before.current != after.current else "write"
        self.account.before(step)
        super().change_key(before, after, event)
        self.account.after(step)

    def put(self, name: str, key: ProviderKey) -> None:
        """See `ProviderKeyStore.put`."""
        self.account.before("put")
        super().put(name, key)
        self.account.after("put")


@dataclass
class Machine:
    """A rotator over real parts and an account, whose clock stands still unless it waits."""

    parts: Parts
    account: Account
    now: int = NOW

    def __post_init__(self) -> None:
        self.keys = Watched(self.parts.provider_keys, self.parts.control)
        self.keys.account = self.account
        self.ids = itertools.count()
        self.events: list[Event] = []

    def rotator(self) -> Rotator:
        """Another process's rotator over the same."""
        return Rotator(
            self.keys,
            self.keys,
            self.account,
            lambda _info: self.account,
            self.parts.admin_ports().origins,
            "keybroker/broker.example",
            lambda: self.now,
            lambda: f"id{next(self.ids)}",
            self._wait,
        )

    def _wait(self, seconds: float) -> None:
        self.now += int(seconds)

    def record(self, kind: str, detail: dict[str, str]) -> Event:
        """The event of a step."""
        event = replace(self.parts.event(kind), detail=detail, key="openai")
        self.events.append(event)
        return event

    def info(self) -> KeyInfo:
        """The key as it is now."""
        found = self.keys.key_info("openai")
        assert found is not None
        return found

    def value(self) -> str:
        """What a call is made with at this instant."""
        current = self.info().current
        assert current is not None
        return self.keys.get("openai", current.version).value

    def begin(self, *, overlap: int = 3600, leaked: bool = False) -> KeyInfo:
        """Begin a rotation."""
        wanted = Rotation(f"rotation{next(self.ids)}", "ada", self.now, overlap, leaked)
        return self.rotator().begin(self.info(), wanted, self.record)

    def advance(self) -> KeyInfo:
        """Take the step that is due, in a process of its own."""
        return self.rotator().advance(self.info(), self.record)

    def to_the_end(self) -> None:
        """Send it again until it is over, as `keys rotate` and the schedule do."""
        for _ in range(8):
            if self.info().rotation is None:
                return
            with contextlib.suppress(Unavailable):
                self.advance()
            self.now += 3600
        raise AssertionError(f"it does not end: {self.info()}")


@pytest.fixture
def machine(parts: Parts) -> Machine:
    """A machine whose key in force was made by a rotation before."""
    made = Machine(parts, Account())
    first = made.account.create(f"{NAME}earlier/attempt")
    made.keys.put("openai", ProviderKey("v-first", "https://api.openai.com", "authorization", "Bearer ", first.value))
    version = KeyVersion(
        "v-first", "https://api.openai.com", "authorization", "ada", NOW, "Bearer ", "openai", first.id
    )
    info = made.info()
    made.keys.change_key(info, replace(info, current=version, management=MANAGEMENT))
    return made


def test_a_key_is_replaced(machine: Machine) -> None:
    """The new key is in force once the provider has accepted it, and the one before works until the overlap ends."""
    first = machine.value()
    machine.begin()
    assert machine.info().rotation is not None
    info = machine.advance()
    assert (info.rotation and info.rotation.step, machine.value() != first) == (OVERLAP, True)
    assert machine.account.accepts(first)
    machine.now += 3599
    machine.advance()
    assert machine.account.accepts(first)
    machine.now += 1
    info = machine.advance()
    assert info.rotation is None
    assert info.current is not None
    assert info.current.before is None
    assert not machine.account.accepts(first)
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1
    assert [one.kind for one in machine.events] == ["key.rotation_begun", "key.rotated", "key.retired"]


STEPS = ("list", "create", "put", "probe", "promote", "delete", "write")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step(machine: Machine, step: str, nth: int, when: str) -> None:
    """A process that is killed before or after any step is taken over: what is in force works throughout, and one key is left."""
    count = itertools.count(1)

    def act(now: str) -> None:
        assert machine.account.accepts(machine.value())
        if now == step and next(count) == nth:
            raise KilledError

    setattr(machine.account, when, act)
    try:
        machine.begin()
        machine.to_the_end()
    except KilledError:
        assert machine.account.accepts(machine.value())
        machine.now += HELD_SECONDS
        if machine.info().rotation is None and not machine.events:
            machine.begin()
        machine.to_the_end()
    assert machine.info().rotation is None
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["list", "create", "delete"])
def test_a_provider_that_fails(machine: Machine, step: str, when: str) -> None:
    """A provider that fails, whether or not it did what it was asked, is tried again; no key of ours is left over."""
    setattr(machine.account, when, failing(step))
    machine.begin()
    info = machine.advance()
    if info.rotation and info.rotation.step == CREATING:
        assert info.rotation.problem == "status_500"
        assert not info.rotation.attempt
    assert machine.account.accepts(machine.value())
    machine.to_the_end()
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1


UNWRITTEN = [("before", step, fault) for step in ("put", "promote") for fault in (StateUnavailable, StateUncertain)]
WRITTEN = [("after", "promote", StateUncertain), ("after", "put", ProviderKeysUnwritable)]


@pytest.mark.parametrize(("when", "step", "fault"), [*UNWRITTEN, *WRITTEN, ("before", "write", StateUnavailable)])
def test_state_out_of_reach(machine: Machine, when: str, step: str, fault: type[Unavailable]) -> None:
    """State that cannot be written, or whose answer is lost, is a 503, and the next attempt goes on from what is true."""
    machine.begin()
    left = [1]

    def act(now: str) -> None:
        if now == step and left[0]:
            left[0] = 0
            raise fault

    setattr(machine.account, when, act)
    with pytest.raises(Unavailable):
        machine.advance()
    assert machine.account.accepts(machine.value())
    machine.now += HELD_SECONDS
    machine.to_the_end()
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1


def test_an_unproved_key_is_not_in_force(machine: Machine) -> None:
    """A new key that the provider refuses for longer than its own machines may take does not come into force, and is deleted."""
    first = machine.value()
    machine.account.slow_to_accept = 100
    machine.begin()
    info = machine.advance()
    assert (info.rotation and info.rotation.problem, machine.value()) == ("probe_status_401", first)
    assert len(machine.account.names()) == 1
    machine.account.slow_to_accept = 10
    assert machine.advance().rotation is not None
    assert machine.value() != first


def test_two_at_once(machine: Machine) -> None:
    """A second attempt while one is at work is told so, and makes nothing; so it is for 90 seconds after a crash."""
    machine.begin()

    def second(step: str) -> None:
        if step == "create":
            machine.account.before = lambda _step: None
            with pytest.raises(Refusal, match="rotation_busy") as caught:
                machine.advance()
            assert caught.value.status == 409

    machine.account.before = second
    machine.advance()
    machine.to_the_end()
    assert machine.account.made == 2
    with pytest.raises(Refusal, match="no_rotation"):
        machine.advance()


def test_one_that_comes_back_late(machine: Machine) -> None:
    """One that was away for longer than it may be puts nothing in force, and deletes what it made."""
    machine.begin()

    def late(step: str) -> None:
        if step == "probe":
            machine.account.before = lambda _step: None
            machine.now += HELD_SECONDS
            machine.advance()

    machine.account.before = late
    with pytest.raises(Refusal, match="key_changed"):
        machine.advance()
    assert machine.account.accepts(machine.value())
    machine.to_the_end()
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1


def test_a_late_attempt_deletes_nothing(machine: Machine) -> None:
    """An attempt whose time is over, however long the provider let it wait, deletes nothing of the one that took it over."""
    machine.begin()

    def slow(step: str) -> None:
        if step == "list":
            machine.account.before = lambda _step: None
            machine.account.after = failing("create")  # so that there is something to delete
            machine.now += HELD_SECONDS
            machine.advance()
            machine.account.after = lambda _step: None

    machine.account.before = slow
    made = len(machine.account.live)
    with pytest.raises(Refusal, match="key_changed"):
        machine.advance()
    assert len(machine.account.live) == made + 1
    machine.to_the_end()
    assert machine.account.accepts(machine.value())
    assert len(machine.account.names()) == 1


def test_set_by_hand_meanwhile(machine: Machine) -> None:
    """A value that an administrator sets while a key is being made stays in force; the rotation has ended, and left nothing."""
    machine.begin()
    value = machine.account.create("by hand").value

    def by_hand(step: str) -> None:
        if step == "probe":
            machine.account.before = lambda _step: None
            key = ProviderKey("v-hand", "https://api.openai.com", "authorization", "Bearer ", value)
            machine.keys.put("openai", key)
            version = KeyVersion("v-hand", key.origin, key.header, "bob", NOW, key.prefix, "openai")
            machine.keys.set_key("openai", version.after(machine.info().current), machine.parts.event("key.set"))

    machine.account.before = by_hand
    with pytest.raises(Refusal, match="key_changed"):
        machine.advance()
    assert (machine.value(), machine.info().rotation) == (value, None)
    assert machine.account.names() == ["by hand", f"{NAME}earlier/attempt"]
    assert machine.events[-1].kind == "key.rotation_ended"


def test_a_leaked_key(machine: Machine) -> None:
    """After a leak there is no overlap, nothing to go back to, and its value has left the disk."""
    first = machine.value()
    machine.begin(leaked=True, overlap=0)
    machine.advance()
    machine.advance()
    assert machine.info().rotation is None
    assert not machine.account.accepts(first)
    assert machine.account.accepts(machine.value())
    with pytest.raises(Refusal, match="no_version_before"):
        machine.rotator().roll_back(machine.info(), machine.record)
    assert first not in (machine.parts.directory / "provider-keys.json").read_text()


def test_a_leak_in_an_overlap(machine: Machine) -> None:
    """A rotation under way becomes one after a leak: the key before is deleted at once."""
    first = machine.value()
    machine.begin()
    machine.advance()
    machine.rotator().hasten(machine.info())
    machine.advance()
    assert (machine.info().rotation, machine.account.accepts(first)) == (None, False)


def test_roll_back(machine: Machine) -> None:
    """In the overlap one goes back at once; then it is the new key that is deleted, at the end of another overlap."""
    first = machine.value()
    machine.begin()
    machine.advance()
    second = machine.value()
    machine.now += 600
    machine.rotator().roll_back(machine.info(), machine.record)
    assert machine.value() == first
    machine.now += 3599
    machine.advance()
    assert machine.account.accepts(second)
    machine.now += 1
    machine.advance()
    assert (machine.value(), machine.account.accepts(first), machine.account.accepts(second)) == (first, True, False)
    assert (machine.info().rotation, len(machine.account.names())) == (None, 1)
    with pytest.raises(Refusal, match="no_version_before") as caught:
        machine.rotator().roll_back(machine.info(), machine.record)
    assert caught.value.status == 409


def test_nobody_goes_back_to_another_provider(machine: Machine) -> None:
    """A version that was set for another provider, or for an origin that is not allowed any more, is not put in force again."""
    machine.begin()
    info = machine.advance()
    assert info.current is not None
    assert info.current.before is not None
    for other in (replace(info.current.before, provider="anthropic"), replace(info.current.before, origin="http://x")):
        changed = replace(info, current=replace(info.current, before=other))
        with pytest.raises(Refusal, match="no_version_before"):
            machine.rotator().before(changed)


def test_abort(machine: Machine) -> None:
    """Before the new key is in force a rotation can be ended, with what it has made; afterwards one goes back instead."""
    machine.account.after = failing("create")
    machine.begin()
    machine.advance()
    assert len(machine.account.names()) == 2
    machine.rotator().abort(machine.info(), machine.record)
    assert (machine.info().rotation, len(machine.account.names())) == (None, 1)
    machine.begin()
    machine.advance()
    with pytest.raises(Refusal, match="rotation_in_force"):
        machine.rotator().abort(machine.info(), machine.record)


def test_a_list_that_is_behind(machine: Machine) -> None:
    """A key that was made and lost, and that the list does not show yet, is deleted at the end."""
    machine.account.after = failing("create")
    machine.begin()
    machine.advance()
    machine.account.after = lambda _step: None
    machine.account.hidden = 1
    machine.advance()
    machine.to_the_end()
    assert len(machine.account.names()) == 1
    assert machine.account.accepts(machine.value())


def test_a_key_that_was_made_by_hand_stays(machine: Machine) -> None:
    """The key before is not deleted where the provider's id of it is not known: one can go back to it, until someone deletes it."""
    info = machine.info()
    assert info.current is not None
    machine.keys.change_key(info, replace(info, current=replace(info.current, provider_key_id="")))
    first = machine.value()
    machine.begin()
    machine.advance()
    machine.to_the_end()
    assert machine.account.accepts(first)
    assert machine.events[-1].detail["deleted"] == "by hand"
    machine.rotator().roll_back(machine.info(), machine.record)
    assert machine.value() == first


def test_no_value_is_shown(machine: Machine) -> None:
    """Neither a record of a rotation nor its events hold a value."""
    machine.begin()
    machine.advance()
    said = repr(machine.info()) + repr(machine.events) + repr(machine.account.create("x"))
    assert [one for one in machine.account.values if one in said] == []
