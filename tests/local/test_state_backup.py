"""Backups of a directory, which may be served meanwhile."""

from __future__ import annotations

import json
import resource
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from local.machine import Machine
from tests.local.state_commands import Output, backed_up, do, killed
from tests.local.test_machine import REAL, events, start

pytestmark = pytest.mark.slow  # each makes and reads whole directories


def test_a_backup_is_whole(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A backup is one file for its owner alone, with the keys that are in force; its restore elsewhere serves the same."""
    path = backed_up(capsys, machine)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    assert do(capsys, "check", path)[1]["usable"] is True
    code, done, said = do(capsys, "restore", path, "--state", tmp_path / "new")
    assert (code, done["administrators"], done["kept_aside"]) == (0, ["admin"], None), said
    again = start(tmp_path / "new", REAL, None)
    for name in ("signing-key.pem", "provider-keys.json", "admin.json"):
        assert (again.directory / name).read_bytes() == (machine.directory / name).read_bytes()
        assert stat.S_IMODE((again.directory / name).stat().st_mode) == 0o600
    assert again.control().current() == machine.control().current()
    [event] = events(again, "state.restored")
    assert (event.detail["file"], len(events(again, "state.backed_up"))) == (str(path), 1)
    assert "sk-real" not in json.dumps([one.to_json() for one in events(again, "key.set")])


def test_nothing_is_written_over(machine: Machine, capsys: Output) -> None:
    path = backed_up(capsys, machine)
    before = path.read_bytes()
    code, _, said = do(capsys, "backup", path, "--state", machine.directory)
    assert (code, path.read_bytes() == before) == (1, True)
    assert said.startswith("error: backup_unwritable (")


@pytest.mark.parametrize("part", ["copy", "file"])
def test_a_full_disk_leaves_no_backup(machine: Machine, capsys: Output, part: str) -> None:
    """A backup for which there is no room is one line, and leaves nothing; a restore likewise, and the state serves on."""
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("INSERT INTO pins VALUES (?, 'x', 1)", ("p" * 1_000_000,))
    size = (machine.directory / "state.db").stat().st_size
    whole = backed_up(capsys, machine, "whole")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2 if part == "copy" else size + 4096, hard))
    try:
        code, _, said = do(capsys, "backup", machine.directory.parent / "b", "--state", machine.directory)
        code_restore, _, said_restore = do(capsys, "restore", whole, "--state", machine.directory.parent / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith(("error: backup_unwritable (", "error: [Errno 27]")), said
    if part == "copy":
        assert (code_restore, len(said_restore.splitlines())) == (1, 1), said_restore
        assert not (machine.directory.parent / "new").exists()
    assert sorted(one.name for one in machine.directory.parent.iterdir() if one.name.startswith((".", "b"))) == []
    start(machine.directory, REAL, None)


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_none(tmp_path: Path, machine: Machine) -> None:
    """A backup that is killed at any step is there as a whole or not at all; the next one works, and cleans up after it."""
    assert machine.control().current().version == 1
    found = killed(tmp_path, "backup")
    assert len(found) > 20
    assert {(one["code"], one["policy"], one["value"]) for one in found} == {(0, 1, "sk-real")}
