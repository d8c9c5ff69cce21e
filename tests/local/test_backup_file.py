"""Backups of no use."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from local.machine import Machine
from local.sqlite.schema import VERSION
from tests.local.state_commands import Output, backed_up, content, do

pytestmark = pytest.mark.slow  # each makes and reads whole directories


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _lose_the_end(path: Path) -> None:
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new, 1))


_NEWER = f'"schema":{VERSION + 1:>{len(str(VERSION)) + 1}}'.encode()
"""As long as what it replaces, when the number gets a digit more, too."""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut, "error: backup_unusable ("),
        (_lose_the_end, "error: backup_unusable ("),
        (_flip, "error: backup_unusable ("),
        (lambda path: path.write_bytes(b""), "error: backup_unusable ("),
        (lambda path: path.write_text("a diary\n" * 5000), "error: backup_unusable ("),
        (lambda path: path.unlink(), "error: [Errno 2]"),
        (lambda path: path.chmod(0o640), "error: secret_file_open_to_others ("),
        (lambda path: _rewrite(path, b'"keybroker_backup": 1', b'"keybroker_backup": 9'), "error: backup_newer ("),
        (lambda path: _rewrite(path, f'"schema": {VERSION}'.encode(), _NEWER), "error: backup_newer ("),
        (lambda path: _rewrite(path, b'"admin.json"', b'"../../x.py"'), "error: backup_unusable ("),
    ],
)  # fmt: skip
def test_a_backup_of_no_use_changes_nothing(machine: Machine, capsys: Output, spoil: Any, said: str) -> None:  # noqa: ANN401
    """A backup that is cut off, damaged, newer or open to others is refused in one line, and the state stays as it was."""
    path = backed_up(capsys, machine)
    spoil(path)
    before = content(machine.directory)
    for verb in (("restore", path, "--state", machine.directory), ("check", path)):
        code, out, error = do(capsys, *verb)
        assert (code, out, len(error.splitlines())) == (1, None, 1), error
        assert error.startswith(said)
        assert "sk-real" not in error
    assert content(machine.directory) == before
    code, _, _ = do(capsys, "restore", path, "--state", machine.directory.parent / "none")
    assert (code, (machine.directory.parent / "none").exists()) == (1, False)


def test_a_name_leads_nowhere_else(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A member with the name of another place, or that is a link, is refused, and nothing is written."""
    path = backed_up(capsys, machine)
    for name, kind in (("../evil", tarfile.REGTYPE), ("admin.json", tarfile.SYMTYPE)):
        made = tmp_path / "made"
        with tarfile.open(path) as old, tarfile.open(made, "w") as new:
            for member in old:
                if member.name == "admin.json":
                    member.name, member.type, member.linkname = name, kind, "/etc/passwd"
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        made.chmod(0o600)
        assert do(capsys, "restore", made, "--state", machine.directory)[0] == 1
        assert not (machine.directory.parent / "evil").exists()
        assert not list(machine.directory.rglob("evil"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_backup_of_another_user(machine: Machine, capsys: Output) -> None:
    """A backup that another user may have written is refused in one line, to root as well."""
    path = backed_up(capsys, machine)
    os.chown(path, 12345, -1)
    before = content(machine.directory)
    for verb in (("restore", path, "--state", machine.directory), ("check", path)):
        code, _, said = do(capsys, *verb)
        assert (code, len(said.splitlines())) == (1, 1)
        assert said.startswith("error: state_of_another_user (")
    assert content(machine.directory) == before
