"""What a program can read of the `keybroker exec` that started it, as the same user; and what it can read all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from keybroker.cli import own_process
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, job, run
from tests.running import Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is only done on Linux"),
]

EXEC = ("exec", "--key", "openai", "--")
_LOOK = """\
import os, sys
pid = os.getpid()
for _ in range(int(sys.argv[1])):
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
for name in sys.argv[2:]:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            content = file.read() if name != "mem" else b""
        print(name, "shows the identity" if b"ACTIONS_ID_TOKEN_REQUEST_TOKEN" in content else "is readable")
    except PermissionError:
        print(name, "is closed")
"""


def look(generations: int, *names: str) -> tuple[str, ...]:
    """Return a program that prints what it can read of a process above it. generations: 1 for its parent."""
    return (COMMAND[0], "-c", _LOOK, str(generations), *names)


def run_as_anybody(command: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Run a command without root's capabilities: as a user who only owns what is theirs."""
    as_anybody = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.geteuid() == 0 else ()
    if as_anybody and not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed, and root reads everything")
    done = subprocess.run(
        [*as_anybody, *command],
        env={**bare(), **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_parent_is_unreadable(running: Running) -> None:
    """A program of the same user can read neither environment nor memory of the `exec` that started it."""
    said = run_as_anybody((*COMMAND, *EXEC, *look(1, "environ", "mem", "maps")), job(running))
    assert said == "environ is closed\nmem is closed\nmaps is closed\n"


@pytest.mark.parametrize("proxy", [[], ["--proxy"]])
def test_the_parents_environment_is_clean(running: Running, proxy: list[str]) -> None:
    """Not even root finds the identity in the environment of the parent, which was started anew without it."""
    done = run("exec", *proxy, *EXEC[1:], *look(1, "environ"), environ=job(running))
    assert done.out == ("environ is readable\n" if os.geteuid() == 0 else "environ is closed\n")


def test_a_replaced_key_is_not_in_the_parent(running: Running) -> None:
    """A provider's key that the program gets a token for is not left in the parent's environment."""
    looks = "import os; print(b'sk-real' in open(f'/proc/{os.getppid()}/environ', 'rb').read())"
    if os.geteuid() != 0:
        pytest.skip("the parent is unreadable, which another test shows")
    environ = {**job(running), "OPENAI_API_KEY": "sk-real", "OPENAI_ADMIN_KEY": "sk-real-admin"}
    assert run(*EXEC, COMMAND[0], "-c", looks, environ=environ).out == "False\n"


def test_a_grandparent_is_readable(running: Running) -> None:
    """A limit: the process that started `keybroker exec` is not protected by it (docs/threat-model.md)."""
    words = " ".join(f"'{word}'" for word in (*COMMAND, *EXEC, *look(2, "environ")))
    assert run_as_anybody(("sh", "-c", f"{words}; true"), job(running)) == "environ shows the identity\n"


def test_it_starts_anew_once(running: Running) -> None:
    """The second start gets the values and closes their file, and the program gets no trace of either."""
    lists = "import os; print(sorted(os.listdir('/proc/self/fd'))[:4], '_KEYBROKER_ENVIRON' in os.environ)"
    assert run(*EXEC, COMMAND[0], "-c", lists, environ=job(running)).out == "['0', '1', '2', '3'] False\n"


@pytest.mark.parametrize("number", ["0", "99", "-1", "x", ""])
def test_a_made_up_file_is_not_read(running: Running, number: str) -> None:
    """A variable that names another file is dropped, and nothing is read from that."""
    done = run(*EXEC, "sh", "-c", "echo $_KEYBROKER_ENVIRON", environ={**job(running), "_KEYBROKER_ENVIRON": number})
    assert (done.code, done.out) == (0, "\n")


def test_it_warns_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A start that fails is a warning, and so is memory that stays readable."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    monkeypatch.setattr(own_process, "_PR_SET_DUMPABLE", 0xBAD)
    monkeypatch.setenv("CI_JOB_TOKEN", "made-up")
    own_process.protect({"CI_JOB_TOKEN"}, may_restart=True)
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "warning: this process's variables stay readable for the program: No such file or directory",
        "warning: this process's memory stays readable for the program (prctl failed)",
    ]
    assert os.environ["CI_JOB_TOKEN"] == "made-up"
