"""What keeps a program apart: `exec --isolate`, with bubblewrap where it is installed, and `exec --user`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keybroker.cli import isolation
from keybroker.cli.command_error import CommandError
from keybroker.cli.identity_variables import PLATFORMS
from keybroker.login import store
from keybroker.login.id_token import Login
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, bare, job, run
from tests.keybroker.cli.test_identity_variables import jwt, values
from tests.running import Running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is for Linux")]

ISOLATE = ("exec", "--isolate", "--key", "openai", "--")


def works() -> bool:
    probe = ["bwrap", "--bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"]
    return bool(shutil.which("bwrap")) and subprocess.run(probe, check=False, capture_output=True).returncode == 0


needs_bubblewrap = pytest.mark.skipif(not works(), reason="needs bubblewrap, and user namespaces for it")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with credentials."""
    for name in (
        ".aws/credentials",
        ".ssh/id_ed25519",
        ".docker/config.json",
        ".kube/config",
        ".netrc",
        "project/job.py",
    ):
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_text("made-up credentials")
    return tmp_path / "home"


def test_what_exists_is_hidden(home: Path, tmp_path: Path) -> None:
    """What exists of the known files, and what a variable names, is hidden; within a hidden folder nothing more is."""
    (tmp_path / "token").write_text("made-up")
    (tmp_path / "link").symlink_to(tmp_path / "token")
    environ = {
        "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "link"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "gone"),
        "OTHER_FILE": str(home / "project" / "job.py"),
        "MY_OWN_FILE": str(tmp_path / "zzz"),
    }
    (tmp_path / "zzz").write_text(f"{jwt()}\n")
    found = [path for path in isolation.hidden(environ, home) if path.startswith(str(tmp_path))]
    names = (".aws", ".docker/config.json", ".kube/config", ".netrc", ".ssh")
    assert found == [*(str(home / name) for name in names), str(tmp_path / "token"), str(tmp_path / "zzz")]


@pytest.mark.parametrize("variable", ["HOME", "XDG_STATE_HOME"])
def test_a_login_is_hidden(home: Path, tmp_path: Path, variable: str) -> None:
    """A person's login is hidden, in the home folder and where XDG_STATE_HOME says."""
    environ = {"HOME": str(home), variable: str(home if variable == "HOME" else tmp_path / "state")}
    folder = store.folder(environ)
    assert folder is not None
    with store.locked(folder):
        pass
    assert str(folder) in isolation.hidden(environ, home)


@needs_bubblewrap
def test_an_isolated_program_has_no_login(tmp_path: Path, running: Running) -> None:
    """A program of `exec --isolate` can neither read the login nor get a token with it."""
    folder = tmp_path / "keybroker"
    with store.locked(folder):
        store.save(folder, Login(running.issuer, "keybroker", running.mint("3024"), ""))
    environ = {"XDG_STATE_HOME": str(tmp_path), "KEYBROKER_URL": running.broker}
    shell = f"ls -A {folder}; {sys.executable} -m keybroker.cli whoami 2>&1"
    done = run(*ISOLATE, "sh", "-c", shell, environ=environ)
    assert (done.code, done.out.splitlines()[0]) == (4, "error: no workload identity found; tried:"), done


def fake(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def test_the_command_line(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bubblewrap gets namespaces of its own, no capabilities, and a cover for each hidden file and folder."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", fake(tmp_path, "exit 0")["PATH"])
    words = " ".join(isolation.wall({}, isolate=True, user=None).namespaces)
    for expected in (
        "--die-with-parent --new-session --unshare-pid",
        "--cap-drop ALL",
        "--dev /dev --proc /proc",
        f"--tmpfs {home}/.aws",
        f"--ro-bind /dev/null {home}/.netrc",
    ):
        assert expected in words


def test_no_bubblewrap_is_refused(running: Running, tmp_path: Path) -> None:
    """Without bubblewrap --isolate is an error that says what to do, and the program is not started."""
    environ = {**job(running), "PATH": str(tmp_path)}
    done = run(*ISOLATE, "/usr/bin/touch", str(tmp_path / "ran"), environ=environ)
    assert (done.code, "--isolate needs bubblewrap" in done.err, "--user" in done.err) == (1, True, True)
    assert not (tmp_path / "ran").exists()


def test_a_bubblewrap_that_fails_is_refused(running: Running, tmp_path: Path) -> None:
    """Where bubblewrap may not make its namespaces, --isolate is an error with its reason, before a token is asked for."""
    environ = {**job(running), **fake(tmp_path, "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")}
    done = run(*ISOLATE, "touch", str(tmp_path / "ran"), environ=environ)
    assert (done.code, "does not work here: bwrap: setting up uid map: Permission denied" in done.err) == (1, True)
    assert not (tmp_path / "ran").exists()


@needs_bubblewrap
def test_it_sees_no_other_process(running: Running) -> None:
    """An isolated program sees its own processes only: not its parent, not what started that."""
    lists = "import os; print(sorted(int(name) for name in os.listdir('/proc') if name.isdecimal()))"
    assert run(*ISOLATE, COMMAND[0], "-c", lists, environ=job(running)).out in ("[1, 2]\n", "[1, 2, 3]\n")


@needs_bubblewrap
@pytest.mark.parametrize("platform", [name for name, one in PLATFORMS.items() if one.stays])
def test_it_gets_no_credentials(running: Running, platform: str) -> None:
    """An isolated program gets no AWS credentials and the like either, and each name is said."""
    done = run(*ISOLATE, "env", environ={**values(platform), **job(running)})
    assert done.code == 0
    assert not [name for name in values(platform) if f"{name}=" in done.out or name not in done.err]


@needs_bubblewrap
def test_hidden_files_are_empty(running: Running, home: Path, tmp_path: Path) -> None:
    """An isolated program finds hidden files empty, and everything else as it is."""
    (tmp_path / "token").write_text(running.mint("63001"))
    environ = {"KEYBROKER_URL": running.broker, "KEYBROKER_ID_TOKEN_FILE": str(tmp_path / "token"), "HOME": str(home)}
    reads = f'ls -A ~/.aws ~/.ssh; cat ~/.netrc "{tmp_path}/token"; echo; cat ~/project/job.py'
    done = run(*ISOLATE, "sh", "-c", reads, environ=environ)
    assert (done.code, done.out) == (0, f"{home}/.aws:\n\n{home}/.ssh:\n\nmade-up credentials")


@needs_bubblewrap
def test_system_files_stay_readable(running: Running, tmp_path: Path) -> None:
    """A file that a variable names for another use, such as gcloud's CA bundle, is passed on and stays readable."""
    (tmp_path / "bundle.crt").write_text("made-up certificates")
    python = str(Path(sys.executable).resolve())
    environ = {
        **job(running),
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(tmp_path / "bundle.crt"),
        "CLOUDSDK_PYTHON": python,
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": python,
    }
    reads = 'cat "$CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"; "$CLOUDSDK_PYTHON" -c "print()"'
    done = run(*ISOLATE, "sh", "-c", reads, environ=environ)
    assert (done.code, done.out) == (0, "made-up certificates\n")


@needs_bubblewrap
def test_an_isolated_program_calls(running: Running, tmp_path: Path) -> None:
    """An isolated program keeps folder, exit code and network, also behind the loopback proxy."""
    program = 'test "$PWD" = "$0" && curl -sf "$OPENAI_BASE_URL/models" -H "authorization: Bearer $OPENAI_API_KEY" >/dev/null && exit 7'
    for behind in ((), ("--proxy",)):
        done = run(
            "exec", *behind, *ISOLATE[1:], "sh", "-c", program, str(tmp_path), environ=job(running), cwd=tmp_path
        )
        assert done.code == 7


@needs_bubblewrap
@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_an_isolated_program_gets_signals(running: Running, name: str) -> None:
    """A signal reaches an isolated program, which ends in its own way."""
    program = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    command = [*COMMAND, *ISOLATE, "sh", "-c", program]
    environ = {**bare(), **job(running)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (9, f"got {name}\n")


@needs_bubblewrap
def test_an_isolated_program_must_exist(running: Running, tmp_path: Path) -> None:
    """A program that is missing or not executable has the exit code that it always has."""
    (tmp_path / "text").write_text("x")
    for name, code in (("no-such-program", 127), (str(tmp_path / "text"), 126)):
        assert run(*ISOLATE, name, environ=job(running)).code == code


@needs_root
def test_another_user(running: Running) -> None:
    """As another user the program has that user's ids and home, gains no privileges, and cannot read our processes."""
    shows = 'id -u; echo "$HOME $USER"; grep NoNewPrivs /proc/self/status; cat /proc/$PPID/environ >/dev/null || echo closed'
    done = run("exec", "--user", "nobody", *ISOLATE[2:], "sh", "-c", shows, environ=job(running), cwd=Path("/"))
    nobody = pwd.getpwnam("nobody")
    assert done.out.split() == [str(nobody.pw_uid), nobody.pw_dir, "nobody", "NoNewPrivs:", "1", "closed"]


@needs_root
def test_other_users_that_help_nothing() -> None:
    """Root, and a user who does not exist, are refused."""
    for name, why in (("root", "is root"), ("no-such-user", "there is no user")):
        with pytest.raises(CommandError, match=why):
            isolation.wall({}, isolate=False, user=name)


def test_both_walls_are_refused() -> None:
    """--isolate and --user exclude each other."""
    with pytest.raises(CommandError, match="exclude each other"):
        isolation.wall({}, isolate=True, user="nobody")


def test_another_user_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root --user is an error, and never something less."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CommandError, match="needs root"):
        isolation.wall({}, isolate=False, user="nobody")


@pytest.mark.parametrize("kept", [["--keep-identity"], ["--keep", "CI_JOB_TOKEN"], ["--keep", "MY_OWN_NAME"]])
def test_a_wall_lets_no_identity_through(running: Running, kept: list[str]) -> None:
    """--isolate with an identity to keep is an error."""
    environ = {**job(running), "MY_OWN_NAME": jwt()}
    done = run("exec", *kept, *ISOLATE[1:], "true", environ=environ)
    assert (done.code, "no identity is passed on" in done.err) == (1, True)
