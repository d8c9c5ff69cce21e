from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from local import directory_lock
from tests.running import ROOT

_HOLDER = """\
import sys
from pathlib import Path
from local import directory_lock
directory_lock.hold(Path(sys.argv[1]))
directory_lock.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    """While a process holds a directory, another is refused in words; once it was killed, it is free at once."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Unavailable, match="state_in_use") as caught:
            directory_lock.hold(tmp_path)
        assert str(tmp_path) in caught.value.hint
        assert directory_lock.is_held(tmp_path)
        holder.kill()
    assert not directory_lock.is_held(tmp_path)
    directory_lock.hold(tmp_path)


def test_another_name_is_the_same_directory(tmp_path: Path) -> None:
    """A process that holds a directory holds it under every name, and again."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    directory_lock.hold(tmp_path / "state")
    held = len(directory_lock._HELD)
    directory_lock.hold(tmp_path / "link")
    assert len(directory_lock._HELD) == held


def test_a_look_keeps_no_server_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts while another program looks holds the directory once the look is over."""
    looking = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _seconds: os.close(looking))
    directory_lock.hold(tmp_path)
    assert directory_lock.is_held(tmp_path)
