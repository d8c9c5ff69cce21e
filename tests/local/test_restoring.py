"""Restores that were cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local.machine import Machine
from tests.local.state_commands import Output, backed_up, killed
from tests.local.test_machine import REAL, start

pytestmark = pytest.mark.slow  # each makes and reads whole directories


def test_a_half_restored_state_is_not_used(machine: Machine) -> None:
    """While a restore is unfinished, no command uses the state, and the next start finishes it."""
    (machine.directory / "restoring").mkdir()
    (machine.directory / "restoring" / "aside").write_text("before-restore-x")
    with pytest.raises(Unavailable, match="restore_interrupted"):
        machine.ledger()
    Machine(machine.directory, REAL).prepare(None, {}, alone=True)
    assert not (machine.directory / "restoring").exists()


@pytest.mark.slow
def test_a_restore_that_is_killed_is_finished(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A restore that is killed at any step leaves the old state, or the restored one, whole, once the next start is done."""
    backed_up(capsys, machine)
    text = machine.control().current().text
    (tmp_path / "again.yaml").write_text(text + "# again\n")
    start(machine.directory, REAL, tmp_path / "again.yaml", apply=True)
    found = killed(tmp_path, "restore")
    versions = [one["policy"] for one in found]
    assert len(found) > 20
    assert versions == sorted(versions, reverse=True)  # first the old one, from one step on the restored one
    assert {2, 1} == set(versions)
    assert {one["value"] for one in found} == {"sk-real"}
    assert found[-1]["left"] == []
