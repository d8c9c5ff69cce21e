"""What a state directory has to be before it is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local.provider_key_file import ProviderKeyFile
from tests.local.test_machine import PRACTISING, REAL, in_force, set_real_key, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture


@pytest.mark.parametrize(
    ("name", "mode"), [(".", 0o720), (".", 0o702), (".", 0o1777), ("state.db", 0o620), ("state.db", 0o604)]
)
def test_a_state_that_others_may_change_is_refused(tmp_path: Path, policy: Path, name: str, mode: int) -> None:
    start(tmp_path / "state", REAL, policy)
    path = tmp_path / "state" / name
    path.chmod(mode)
    with pytest.raises(Unavailable, match="state_open_to_others") as caught:
        start(tmp_path / "state", REAL, policy)
    assert str(path) in caught.value.hint
    path.chmod(0o755 if name == "." else 0o600)
    start(tmp_path / "state", REAL, policy)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [".", "state.db"])
def test_state_of_another_user_is_refused(tmp_path: Path, policy: Path, name: str) -> None:
    """A state that belongs to another user is refused."""
    start(tmp_path / "state", REAL, policy)
    os.chown(tmp_path / "state" / name, 12345, -1)
    with pytest.raises(Unavailable, match="state_open_to_others"):
        start(tmp_path / "state", REAL, policy)


def test_practice_over_real_keys_is_refused(tmp_path: Path, policy: Path) -> None:
    """Practice parts over real keys are refused, and the keys stay."""
    machine = start(tmp_path / "state", REAL, policy)
    set_real_key(machine)
    for urls_policy in (policy, None):
        with pytest.raises(Unavailable, match="real_keys_here") as caught:
            start(tmp_path / "state", PRACTISING, urls_policy)
        assert "--no-practice" in caught.value.hint
    file = ProviderKeyFile(tmp_path / "state" / "provider-keys.json")
    assert (in_force(machine), file.get("openai", "real-1").value) == ("real-1", "sk-real")
