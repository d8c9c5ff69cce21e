"""What a start leaves in force, what it puts in force, and what it says about the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from chalicelib.policy.compile import InvalidPolicyError
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalProviderKeys
from tests.local.test_machine import POLICY, PRACTISING, REAL, events, in_force, start, stored
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture

Log = pytest.LogCaptureFixture
VARIABLE = "KEYBROKER_KEY_OPENAI"
FIRST, ROTATED = "sk-first-0123456789abcdef", "sk-rotated-0123456789abcdef"
GATEWAY = "https://llm.example.com"


@pytest.fixture
def first(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that was started with a key in the environment, which is still there."""
    monkeypatch.setenv(VARIABLE, FIRST)
    return start(tmp_path / "state", REAL, policy)


def rotate(machine: Machine, value: str = ROTATED, origin: str = GATEWAY) -> None:
    """Set the key as the administration does."""
    keys = LocalProviderKeys(ProviderKeyFile(machine.directory / "provider-keys.json"), machine.control())
    keys.put("openai", ProviderKey("rotated", origin, "x-token", "Token ", value))
    version = KeyVersion("rotated", origin, "x-token", "ada", 1, "Token ", "openai")
    keys.set_key("openai", version, machine.event("key.set", {}))


def key(machine: Machine) -> tuple[str, str, str, str]:
    """Origin, header, prefix and value of the key in force."""
    found = ProviderKeyFile(machine.directory / "provider-keys.json").get("openai", str(in_force(machine)))
    return found.origin, found.header, found.prefix, found.value


def reasons(caplog: Log) -> list[str]:
    """What the starts so far have said."""
    return [json.loads(one.message)["reason"] for one in caplog.records]


def test_the_first_start_takes_the_environment(first: Machine, caplog: Log) -> None:
    """The first start puts the keys of the environment in force, and the second changes and says nothing."""
    assert key(first) == ("https://api.openai.com", "authorization", "Bearer ", FIRST)
    again = start(first.directory, REAL, None)
    assert (key(again)[3], len(events(again, "key.set")), reasons(caplog)) == (FIRST, 1, [])


def test_a_rotated_key_outlives_a_start(first: Machine, policy: Path, caplog: Log) -> None:
    """A start with the old value in the environment changes nothing, and log and audit say so without a value."""
    rotate(first)
    again = start(first.directory, REAL, policy)
    assert key(again) == (GATEWAY, "x-token", "Token ", ROTATED)
    [event] = events(again, "key.kept")
    assert (event.key, event.detail) == ("openai", {"variable": VARIABLE, "version": "rotated", "origin": GATEWAY})
    assert reasons(caplog) == ["key_passed_over"]
    assert not any(one in caplog.text + json.dumps(event.to_json()) for one in (FIRST, ROTATED))


def test_set_keys_puts_the_environment_in_force(first: Machine, policy: Path) -> None:
    """With the word, the environment's value comes into force where the key is sent now; twice is once."""
    rotate(first)
    for _ in range(2):
        start(first.directory, REAL, policy, set_keys=True)
    assert key(first) == (GATEWAY, "x-token", "Token ", FIRST)
    assert (stored(first), len(events(first, "key.set"))) == ([FIRST], 3)


@pytest.mark.parametrize("faulty", [("sk-a\nX-Evil: 1", "printable ASCII"), ("Bearer sk-abc", "prefix")])
def test_a_faulty_value_is_passed_over(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log, faulty: tuple[str, str]
) -> None:
    """A value that no administrator could set is not taken from the environment either, and is not quoted."""
    value, said = faulty
    monkeypatch.setenv(VARIABLE, value)
    monkeypatch.setenv("KEYBROKER_KEY_OPNEAI", FIRST)
    machine = start(tmp_path / "state", REAL, policy)
    assert (in_force(machine), reasons(caplog)) == (None, ["key_passed_over"] * 2)
    assert said in caplog.text
    assert value not in caplog.text
    assert "names no such key" in caplog.text


def test_a_key_that_practised_was_never_set(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start with real keys takes them from the environment, though practice keys were in force."""
    start(tmp_path / "state", PRACTISING, policy)
    monkeypatch.setenv(VARIABLE, FIRST)
    assert key(start(tmp_path / "state", REAL, policy)) == (
        "https://api.openai.com",
        "authorization",
        "Bearer ",
        FIRST,
    )


def test_an_old_state_deletes_no_key(first: Machine, policy: Path, tmp_path: Path, caplog: Log) -> None:
    """A start over an old state file keeps the value that it does not know, and says which key has none."""
    shutil.copy(first.directory / "state.db", tmp_path / "old.db")
    for suffix in ("-wal", "-shm"):
        assert not (first.directory / f"state.db{suffix}").exists() or shutil.copy(
            first.directory / f"state.db{suffix}", tmp_path / f"old.db{suffix}"
        )
    rotate(first)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (first.directory / name).unlink(missing_ok=True)
        old = tmp_path / name.replace("state", "old")
        if old.exists():
            shutil.copy(old, first.directory / name)
    again = start(first.directory, REAL, policy)
    assert stored(again) == [ROTATED]
    assert reasons(caplog) == ["key_passed_over", "provider_key_missing"]
    rotate(again, "sk-third")
    assert stored(start(first.directory, REAL, policy)) == ["sk-third"]


# the policy


def test_an_applied_policy_outlives_a_start(first: Machine, policy: Path, caplog: Log) -> None:
    """A start with another file leaves the policy in force, and log and audit say so; the same file says nothing."""
    before = first.control().current()
    start(first.directory, REAL, policy)
    assert reasons(caplog) == []
    policy.write_text(POLICY.replace("30/hour", "31/hour"))
    again = start(first.directory, REAL, policy)
    assert again.control().current() == before
    [event] = events(again, "policy.kept")
    assert event.detail == {"file": str(policy), "version": "1"}
    assert reasons(caplog) == ["policy_passed_over"]


def test_apply_puts_the_file_in_force(first: Machine, policy: Path, caplog: Log) -> None:
    """With the word, the file comes into force; a second time it is no new version."""
    policy.write_text(POLICY.replace("30/hour", "31/hour"))
    for _ in range(2):
        start(first.directory, REAL, policy, apply=True)
    current = first.control().current()
    assert (current.version, "31/hour" in current.text, reasons(caplog)) == (2, True, [])


@pytest.mark.parametrize("text", ["keys: {", None], ids=["faulty", "missing"])
def test_a_file_that_is_not_taken_stops_no_start(first: Machine, policy: Path, caplog: Log, text: str | None) -> None:
    """A faulty or missing file is passed over where a policy is in force, and refused where it is to be applied."""
    policy.write_text(text) if text else policy.unlink()
    start(first.directory, REAL, policy)
    assert reasons(caplog) == ["policy_passed_over"]
    with pytest.raises((InvalidPolicyError, Unavailable)):
        start(first.directory, REAL, policy, apply=True)
    assert first.control().current().version == 1


def test_a_policy_that_means_another_is_compiled_anew(tmp_path: Path) -> None:
    """The practice policy follows the practice issuer to its new address."""
    start(tmp_path / "state", PRACTISING, None)
    moved = PRACTISING.__class__(PRACTISING.broker, PRACTISING.edge, PRACTISING.provider, "http://127.0.0.1:9")
    machine = start(tmp_path / "state", moved, None)
    assert [machine.control().current().version for _ in range(2)] == [2, 2]
    assert start(tmp_path / "state", moved, None).control().current().version == 2


def test_real_use_needs_a_policy(tmp_path: Path) -> None:
    """A first start without practice and without a policy is refused before anything is made."""
    with pytest.raises(Unavailable, match="no_policy_yet"):
        start(tmp_path / "state", REAL, None)
    assert not (tmp_path / "state").exists()


def test_the_practice_policy_is_none_for_real_use(tmp_path: Path, policy: Path) -> None:
    """A practice policy in force stops a start with real keys, which says how to name another."""
    start(tmp_path / "state", PRACTISING, None)
    with pytest.raises(Unavailable, match="policy_in_force_unusable") as caught:
        start(tmp_path / "state", REAL, policy)
    assert "--apply" in caught.value.hint
    start(tmp_path / "state", REAL, policy, apply=True)
