"""Commands over a state directory, as the tests of backups, restores and seals run them."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local import directory_lock
from local.__main__ import main
from local.machine import Machine
from tests.running import ROOT

Output = pytest.CaptureFixture[str]


def release() -> None:
    """Let go of the directories that a command holds until its process ends."""
    for link in Path("/proc/self/fd").iterdir():
        status = link.stat() if link.exists() else None
        if status and (status.st_dev, status.st_ino) in directory_lock._HELD:
            os.close(int(link.name))
    directory_lock._HELD.clear()


def do(capsys: Output, *arguments: object) -> tuple[int, Any, str]:
    """Run `state …`; return its exit code, what it printed as JSON, and its messages."""
    gc.collect()  # connections that tests left open would be another program's
    code = main(["state", *map(str, arguments)])
    release()
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err


def backed_up(capsys: Output, machine: Machine, name: str = "backup") -> Path:
    """Back a machine's directory up, and return the file."""
    path = machine.directory.parent / name
    code, _, said = do(capsys, "backup", path, "--state", machine.directory)
    assert (code, said) == (0, "")
    return path


def content(directory: Path) -> dict[str, object]:
    """What every file holds; of the state file what is in it, since it moves by itself between file and log."""
    files = [one for one in directory.rglob("*") if one.is_file() and not one.name.startswith("state.db")]
    with closing(sqlite3.connect(directory / "state.db")) as connection:
        dump = list(connection.iterdump())
    return {"state.db": dump, **{str(one.relative_to(directory)): one.read_bytes() for one in files}}


def killed(tmp_path: Path, verb: str) -> list[dict[str, Any]]:
    """Kill a command at each of its steps, see killed_state.py; return what was left each time."""
    template = tmp_path / "template"
    template.mkdir()
    (tmp_path / "state").rename(template / "state")
    for name in ("backup", "old", "new"):
        if (tmp_path / name).exists():
            (tmp_path / name).rename(template / name)
    script = ROOT / "tests" / "local" / "killed_state.py"
    command = [sys.executable, str(script), verb, str(template), str(tmp_path / "work")]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]
