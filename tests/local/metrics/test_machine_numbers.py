from __future__ import annotations

import json
from pathlib import Path

from chalicelib.admin.revocation_probe import RevocationProbe
from chalicelib.federation.minter import digest
from chalicelib.federation.notes import MintNote
from chalicelib.policy import compile as policy
from chalicelib.providers.versions import KeyVersion
from local.machine import Machine
from local.metrics import names
from local.metrics.exposition import Exposition
from local.metrics.machine_numbers import MachineNumbers
from local.sqlite.mint_notes import SqliteMintNotes
from tests import federated
from tests.contracts import samples


class Clock:
    """A clock that is set."""

    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


def values(numbers: MachineNumbers) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(one.metric.name, one.labels): one.value for one in numbers.read()}


def test_what_is_shown_of_a_machine(machine: Machine, counted: Path) -> None:
    """Keys' and signing keys' state and the last probe are shown, and the page takes them all."""
    numbers = MachineNumbers(machine, 300, Clock())
    found = values(numbers)
    assert found["keybroker.state.readable", ()] == 1
    assert found["keybroker.key.set_timestamp", ("openai",)] == 1  # as `set_real_key` sets it
    assert ("keybroker.key.due_timestamp", ("openai",)) not in found
    assert found["keybroker.signing_keys", ("live",)] == 1
    assert found["keybroker.revocation_probe.period", ()] == 300
    assert ("keybroker.revocation_probe.timestamp", ()) not in found
    probe = RevocationProbe("this machine", 1_794_999_999, "late", 1.5, 2)
    (machine.directory / "revocation-probe.json").write_text(json.dumps(probe.to_json()))
    (machine.directory / "revocation-probe.json").chmod(0o600)
    found = values(MachineNumbers(machine, 300, Clock()))
    assert found["keybroker.revocation_probe.timestamp", ()] == 1_794_999_999
    assert found["keybroker.revocation_probe.duration", ()] == 1.5
    assert (
        found["keybroker.revocation_probe.outcome", ("late",)],
        found["keybroker.revocation_probe.outcome", ("held",)],
    ) == (1, 0)
    assert b"keybroker_state_readable 1.0" in Exposition(counted, [numbers.read]).text()


def test_what_is_shown_of_federated_keys(machine: Machine) -> None:
    """When a minted credential ends is shown; nothing of keys that are set."""
    found = values(MachineNumbers(machine, 0, Clock()))
    assert ("keybroker.key.expiry_timestamp", ("openai",)) not in found
    control = machine.control()
    version = KeyVersion(
        "minted-1", "https://api.openai.com", "authorization", "minter", 1, expires=3601, minted_for="x"
    )
    control.set_key("openai", version, samples.event("key.minted"))
    found = values(MachineNumbers(machine, 0, Clock()))
    assert found["keybroker.key.expiry_timestamp", ("openai",)] == 3601


def test_mints_that_failed(machine: Machine) -> None:
    """How often in a row is shown by key; nothing of what was noted of other ids, or of a key that is federated no more."""
    control, notes = machine.control(), SqliteMintNotes(machine.state_file())
    parsed = policy.parse(federated.POLICY, rules=policy.InstallationRules({}, loopback_issuers=True))
    control.apply(parsed, federated.POLICY, control.current().version, samples.event("policy.applied"))
    info = control.key_info("openai")
    assert info is not None
    note = MintNote("openai", 2, "invalid_grant", denied=True, failures=3, next_try=302, minted_for=digest(info))
    for one in (
        note,
        note._replace(key="anthropic", minted_for="other"),
        note._replace(key="set"),
        note._replace(key="gone"),
    ):
        notes.note_mint(one.key, one)
    found = values(MachineNumbers(machine, 0, Clock()))
    assert {name: value for name, value in found.items() if name[0] == "keybroker.mint.failures"} == {
        ("keybroker.mint.failures", ("openai", "denied")): 3
    }


def test_it_is_read_now_and_then(machine: Machine) -> None:
    """Scrapes within half a minute read the state once, and a state that is gone is a number, not a fault."""
    clock = Clock()
    numbers = MachineNumbers(machine, 0, clock)
    first = numbers.read()
    assert numbers.read() is first
    clock.now += 31
    (machine.directory / "state.db").rename(machine.directory / "away.db")

    found = {one.metric.name: one.value for one in numbers.read()}
    (machine.directory / "away.db").rename(machine.directory / "state.db")
    assert found[names.READABLE.name] == 0
    assert names.KEY_SET.name not in found
