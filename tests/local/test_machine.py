"""What a start does with the keys that are there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalicelib.audit import Event, Query
from chalicelib.errors import Unavailable
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.machine import Machine
from local.practice import policy as practice
from local.provider_key_file import ProviderKeyFile
from local.urls import Urls

PRACTISING = Urls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4")
REAL = Urls("http://127.0.0.1:1", "http://127.0.0.1:2", None, None)
POLICY = """\
keys:
  openai: {provider: openai}
issuers:
  ci: {preset: github-actions, audience: keybroker}
grants:
  app:
    key: openai
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 30/hour, calls: 60/minute}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy file without practice parts."""
    path = tmp_path / "keybroker.yaml"
    path.write_text(POLICY)
    return path


def start(directory: Path, urls: Urls, policy: Path | None, **words: bool) -> Machine:
    """Prepare a state directory as `serve` does. words: `apply`, `set_keys`."""
    machine = Machine(directory, urls)
    machine.prepare(policy, practice.made_up_values() if urls.provider else {}, **words)
    return machine


def stored(machine: Machine) -> list[str]:
    """Every value of the key on the disk, the newest last."""
    text = (machine.directory / "provider-keys.json").read_text()
    return [one["value"] for one in json.loads(text).get("openai", {}).values()]


def events(machine: Machine, kind: str) -> list[Event]:
    """The audit's events of a kind, newest first."""
    return list(machine.ledger().page(Query({"kind": kind})).events)


def set_real_key(machine: Machine) -> ProviderKeyFile:
    """Set a real key as the administration does."""
    file = ProviderKeyFile(machine.directory / "provider-keys.json")
    file.put("openai", ProviderKey("real-1", "https://api.openai.com", "authorization", "Bearer ", "sk-real"))
    event = machine.event("key.set", {})
    machine.control().set_key(
        "openai", KeyVersion("real-1", "https://api.openai.com", "authorization", "ada", 1), event
    )
    return file


def in_force(machine: Machine) -> str | None:
    """The version of the key that is in force."""
    [key] = machine.control().keys(machine.event("keys.read", {}))
    return key.current.version if key.current else None


def test_practice_keys_are_no_real_ones(tmp_path: Path, policy: Path) -> None:
    practised = start(tmp_path / "state", PRACTISING, policy)
    version = in_force(practised)
    start(tmp_path / "state", REAL, policy)
    with pytest.raises(Unavailable, match="provider_key_version"):
        ProviderKeyFile(tmp_path / "state" / "provider-keys.json").get("openai", str(version))


def test_real_key_outlives_a_start(tmp_path: Path, policy: Path) -> None:
    """A real key outlives a start; its superseded versions do not."""
    machine = start(tmp_path / "state", REAL, policy)
    file = set_real_key(machine)
    file.put("openai", ProviderKey("never-in-force", "https://api.openai.com", "authorization", "Bearer ", "sk-other"))
    start(tmp_path / "state", REAL, policy)
    fresh = ProviderKeyFile(tmp_path / "state" / "provider-keys.json")
    assert fresh.get("openai", "real-1").value == "sk-real"
    with pytest.raises(Unavailable, match="provider_key_version"):
        fresh.get("openai", "never-in-force")


def test_a_key_that_is_not_in_the_policy_is_left_alone(tmp_path: Path, policy: Path) -> None:
    machine = start(tmp_path / "state", REAL, policy)
    set_real_key(machine)
    policy.write_text(POLICY.replace("openai:", "other:").replace("key: openai", "key: other"))
    start(tmp_path / "state", REAL, policy, apply=True)
    policy.write_text(POLICY)
    again = start(tmp_path / "state", REAL, policy, apply=True)
    assert in_force(again) == "real-1"
    assert ProviderKeyFile(tmp_path / "state" / "provider-keys.json").get("openai", "real-1").value == "sk-real"
