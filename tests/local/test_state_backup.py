"""Backups of a directory, which may be served meanwhile."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local import secret_file
from local.machine import Machine
from local.sqlite import snapshot
from tests.local.state_commands import Output, backed_up, do, killed
from tests.local.test_machine import REAL, events, start
from tests.running import ROOT

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
    assert (event.detail["file"], len(events(machine, "state.backed_up"))) == (str(path), 1)
    assert "sk-real" not in json.dumps([one.to_json() for one in events(again, "key.set")])


def test_nothing_is_written_over(machine: Machine, capsys: Output) -> None:
    path = backed_up(capsys, machine)
    before = path.read_bytes()
    code, _, said = do(capsys, "backup", path, "--state", machine.directory)
    assert (code, path.read_bytes() == before) == (1, True)
    assert said.startswith("error: backup_unwritable (")


def test_a_backup_into_no_directory(machine: Machine, capsys: Output) -> None:
    """A place that is not there is told by its name, and the audit has no backup that was never begun."""
    code, _, said = do(capsys, "backup", machine.directory.parent / "nowhere" / "b", "--state", machine.directory)
    assert (code, len(said.splitlines()), events(machine, "state.backed_up")) == (1, 1, [])
    assert said.startswith(f"error: backup_unwritable ({machine.directory.parent / 'nowhere'} is no directory")


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


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda state: (state / "signing-key.pem").unlink(), "the directory lacks signing-key.pem"),
        (lambda state: (state / "signing-key.pem").write_text(""), "error: "),
        (lambda state: (state / "provider-keys.json").write_text('{"openai":'), "error: "),
        (lambda state: _overwrite(state / "state.db"), "error: "),
    ],
)  # fmt: skip
def test_what_cannot_be_restored_is_no_backup(machine: Machine, capsys: Output, spoil: Any, said: str) -> None:  # noqa: ANN401
    """A backup of a directory that is damaged or incomplete is refused in one line: one that is made can be restored."""
    spoil(machine.directory)
    code, out, error = do(capsys, "backup", machine.directory.parent / "b", "--state", machine.directory)
    assert (code, out, len(error.splitlines())) == (1, None, 1), error
    assert said in error
    assert "sk-real" not in error
    assert sorted(one.name for one in machine.directory.parent.iterdir() if one.name.startswith((".", "b"))) == []


def _overwrite(path: Path) -> None:
    """Damage one page in the middle of a state file."""
    gc.collect()  # SQLite changes the mode of a file only while no other connection is open
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        rows = [(f"p{number}", "x" * 2000, 1) for number in range(40)]
        connection.executemany("INSERT INTO pins VALUES (?, ?, ?)", rows)
        connection.commit()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 6 * 4096)
        file.write(b"\xff" * 4096)


def test_what_was_left_is_removed(machine: Machine, capsys: Output) -> None:
    """What a command that was killed left beside a backup, keys included, goes with the next one, a check as well."""
    path = backed_up(capsys, machine)
    for arguments in (("check", path), ("backup", machine.directory.parent / "b", "--state", machine.directory)):
        left = machine.directory.parent / ".keybroker-backup-abc"
        (left / "files").mkdir(parents=True)
        (left / "files" / "signing-key.pem").write_text("secret")
        code, _, said = do(capsys, *arguments)
        assert code == 0, said
        assert not left.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_what_others_left_stops_no_backup(machine: Machine, capsys: Output) -> None:
    """In a directory that is for everybody, what others made under the name of what is left behind is left alone."""
    folder, file, link = (machine.directory.parent / f".keybroker-backup-{one}" for one in ("folder", "file", "link"))
    folder.mkdir(mode=0)
    os.chown(folder, 12345, -1)
    file.touch()
    link.symlink_to(machine.directory)
    backed_up(capsys, machine)
    assert folder.exists()
    assert file.exists()
    assert link.is_symlink()
    assert (machine.directory / "state.db").exists()


def test_a_directory_open_to_others_is_not_backed_up(machine: Machine, capsys: Output) -> None:
    """Where others may write, a backup would make theirs what is restored; nor is anything restored there."""
    path = backed_up(capsys, machine)
    machine.directory.chmod(0o777)
    for verb, file in (("backup", machine.directory.parent / "b"), ("restore", path)):
        code, _, said = do(capsys, verb, file, "--state", machine.directory)
        assert (code, len(said.splitlines())) == (1, 1)
        assert said.startswith("error: state_open_to_others (")


def test_no_restore_comes_between(machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backup reads, no restore puts other files into the directory: what it has is of one moment."""
    path, said = backed_up(capsys, machine), []
    command = [sys.executable, "-m", "local", "state", "restore", str(path), "--state", str(machine.directory)]
    real = snapshot.copy

    def copy(connection: sqlite3.Connection, to: Path) -> None:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        said.append((ended.returncode, ended.stderr))
        real(connection, to)

    monkeypatch.setattr(snapshot, "copy", copy)
    made = backed_up(capsys, machine, "b")
    assert said == [(1, f"error: state_in_use (a program uses {machine.directory / 'state.db'}: stop it)\n")]
    assert do(capsys, "check", made)[0] == 0


def test_no_seal_comes_between(machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backup reads the keys, no seal changes one of them: both are sealed by the same."""
    real, held = secret_file.read, []

    def read(path: Path) -> str:
        if path.parent == machine.directory and path.name in {"signing-key.pem", "provider-keys.json"}:
            with (machine.directory / "provider-keys.lock").open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held.append(False)
                except BlockingIOError:
                    held.append(True)
        return real(path)

    monkeypatch.setattr(secret_file, "read", read)
    backed_up(capsys, machine)
    assert set(held) == {True}
