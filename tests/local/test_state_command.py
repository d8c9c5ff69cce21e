"""`python -m local state`: what its commands refuse, and in how many words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from local.machine import Machine
from tests.local.state_commands import Output, backed_up, do

pytestmark = pytest.mark.slow  # each makes and reads whole directories


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("verb", ["backup", "restore", "check"])
def test_the_owner_alone(machine: Machine, capsys: Output, verb: str) -> None:
    """The directory of another user is refused in one line, to root as well."""
    path = backed_up(capsys, machine)
    os.chown(machine.directory, 12345, -1)
    named = [machine.directory.parent / "b"] if verb == "backup" else [path] if verb == "restore" else []
    code, _, said = do(capsys, verb, *named, "--state", machine.directory)
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith("error: state_of_another_user (")


def test_a_newer_directory_is_refused(machine: Machine, capsys: Output) -> None:
    """A directory of a newer version is not backed up by an older one, which would not know what to copy."""
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    for verb in (("backup", machine.directory.parent / "b"), ("check",)):
        code, _, said = do(capsys, *verb, "--state", machine.directory)
        assert (code, len(said.splitlines())) == (1, 1)
        assert said.startswith("error: state_file_newer (")
    assert not (machine.directory.parent / "b").exists()


def test_check_finds_damage(machine: Machine, capsys: Output) -> None:
    """A state directory is checked while it serves, and damage is one line."""
    assert do(capsys, "check", "--state", machine.directory)[1]["usable"] is True
    (machine.directory / "signing-key.pem").write_text("none")
    code, _, said = do(capsys, "check", "--state", machine.directory)
    assert (code, len(said.splitlines())) == (1, 1)
