"""Which value a call gets while administrators replace it, and what `kill -9` between the steps leaves."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalProviderKeys
from tests.local.test_machine import REAL, in_force, start, stored
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture

ORIGIN = "https://api.openai.com"


def _keys(machine: Machine) -> LocalProviderKeys:
    return LocalProviderKeys(ProviderKeyFile(machine.directory / "provider-keys.json"), machine.control())


def _store(machine: Machine, version: str) -> None:
    _keys(machine).put("openai", ProviderKey(version, ORIGIN, "authorization", "Bearer ", f"sk-{version}"))


def _put_in_force(machine: Machine, version: str) -> None:
    found = KeyVersion(version, ORIGIN, "authorization", "ada", 1)
    _keys(machine).set_key("openai", found, machine.event("key.set", {}))


def _rotate(machine: Machine, version: str) -> None:
    _store(machine, version)
    _put_in_force(machine, version)


def test_a_call_meets_a_new_value(tmp_path: Path, policy: Path) -> None:
    """A call that was admitted just before a new value came into force is sent with the new one, not refused."""
    machine = start(tmp_path / "state", REAL, policy)
    _rotate(machine, "v1")
    another_worker = _keys(machine)
    _rotate(machine, "v2")
    _rotate(machine, "v3")
    assert another_worker.get("openai", "v1").value == "sk-v3"


def test_a_version_in_force_without_a_value_is_refused(tmp_path: Path, policy: Path) -> None:
    machine = start(tmp_path / "state", REAL, policy)
    _rotate(machine, "v1")
    event = machine.event("key.set", {})
    machine.control().set_key("openai", KeyVersion("gone", ORIGIN, "authorization", "ada", 1), event)
    with pytest.raises(Unavailable, match="provider_key_version"):
        _keys(machine).get("openai", "gone")


@pytest.mark.parametrize(
    ("dies", "in_force_then", "values_then"),
    [("before", "v1", ["sk-v1"]), ("stored", "v1", ["sk-v1", "sk-v2"]), ("committed", "v2", ["sk-v1", "sk-v2"])],
)
def test_a_rotation_that_is_killed(
    tmp_path: Path, policy: Path, dies: str, in_force_then: str, values_then: list[str]
) -> None:
    """After `kill -9` between two steps the version in force has its value, and a start deletes every other."""
    machine = start(tmp_path / "state", REAL, policy)
    _rotate(machine, "v1")
    child = os.fork()
    if not child:
        _die_while_rotating(machine, dies)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert (in_force(machine), stored(machine)) == (in_force_then, values_then)
    again = start(tmp_path / "state", REAL, policy)
    assert (in_force(again), stored(again)) == (in_force_then, [f"sk-{in_force_then}"])
    assert _keys(again).get("openai", in_force_then).value == f"sk-{in_force_then}"
    _rotate(again, "v9")  # the lock went with its process
    assert stored(again) == ["sk-v9"]


def _die_while_rotating(machine: Machine, dies: str) -> None:
    if dies == "before":
        os.kill(os.getpid(), 9)
    _store(machine, "v2")
    if dies == "committed":
        file = ProviderKeyFile(machine.directory / "provider-keys.json")
        with file.superseding("openai", "v2"):
            event = machine.event("key.set", {})
            machine.control().set_key("openai", KeyVersion("v2", ORIGIN, "authorization", "ada", 1), event)
            os.kill(os.getpid(), 9)
    os.kill(os.getpid(), 9)


def test_no_call_fails_while_a_key_is_rotated(tmp_path: Path, policy: Path) -> None:
    """Workers that have never read a key find a value for every call, however often it is rotated meanwhile."""
    machine = start(tmp_path / "state", REAL, policy)
    _rotate(machine, "v0")
    done = threading.Event()

    def work() -> int:
        keys, calls = _keys(machine), 0
        while not done.is_set():
            info = keys.key_info("openai")
            assert info is not None
            assert info.current is not None
            assert _keys(machine).get("openai", info.current.version).value.startswith("sk-v")
            calls += 1
        return calls

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work) for _ in range(3)]
        try:
            for number in range(1, 13):
                _rotate(machine, f"v{number}")
        finally:
            done.set()
        assert all(one.result() for one in workers)
    assert stored(machine) == ["sk-v12"]
