"""What a program of `keybroker exec` could reach, found by looking."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keybroker.cli import child_probe
from tests.keybroker.cli.canned_server import serving
from tests.keybroker.cli.test_identity_variables import jwt


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look from an empty folder, where there is no sudo, and ask no metadata server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(child_probe, "ADDRESSES", ())


def found(kind: str, *, files: tuple[str, ...] = (), steps: tuple[str, ...] = ()) -> list[str]:
    return [text for one, text in child_probe.doors(files, steps, walled=True) if one == kind]


def test_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is a door by its name or its value, which is not shown."""
    monkeypatch.setenv("MY_OWN_NAME", jwt())
    monkeypatch.setenv("NPM_TOKEN", "made-up")
    monkeypatch.setenv("OTHER", "made-up")
    said = found("variable")
    assert {"the variable MY_OWN_NAME", "the variable NPM_TOKEN"} <= set(said)
    assert not [text for text in said if "OTHER" in text or jwt() in text]


def test_files_are_doors_if_they_open(tmp_path: Path) -> None:
    """A file with content, a folder that is not empty and a socket that answers are doors; others are not."""
    for name in ("token", "empty", "folder/token"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty" else "made-up")
    (tmp_path / "bare").mkdir()
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind("agent")
        listens.listen()
        names = ("token", "empty", "folder", "bare", "gone", "agent")
        said = found("file", files=tuple(str(tmp_path / name) for name in names))
    assert said == [f"the file {tmp_path / name}" for name in ("token", "folder", "agent")]
    assert found("file", files=(str(tmp_path / "agent"), "/dev/null")) == []


def test_what_later_steps_read_is_a_door(tmp_path: Path) -> None:
    """A file that later steps of a job read is a door if it can be written, also while it is empty."""
    (tmp_path / "env").touch()
    said = found("file", steps=(str(tmp_path / "env"), "/dev/null", str(tmp_path / "gone")))
    assert said == [f"the file {tmp_path / 'env'}, which later steps read"]


@pytest.mark.parametrize(
    ("text", "is_door"), [("\textraheader = AUTHORIZATION: basic x\n", True), ("url = https://x\n", False)]
)
def test_a_checkout_s_credentials_are_a_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, is_door: bool
) -> None:
    """The token that a checkout left in git's configuration is a door, from any folder of it."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text(text)
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    assert bool(found("file")) is is_door


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections and never answers; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_addresses_answer_in_time(silent: int) -> None:
    """An address that answers is a door; all are asked at once, and one that is silent costs no more than the limit."""
    threads = threading.active_count()
    with serving(b"HTTP/1.0 404 Not Found\r\n\r\n") as server:
        port = int(server.url.rpartition(":")[2])
        assert child_probe.answering([("127.0.0.1", port)], 30.0) == {"127.0.0.1"}
    assert threading.active_count() < threads + 10
    before = time.monotonic()
    assert child_probe.answering([("127.0.0.1", silent)] * 20, 0.2) == set()
    assert time.monotonic() - before < 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is for Linux")
def test_processes_above_are_doors() -> None:
    """A process above that has an identity in its readable environment is a door, with the names alone."""
    looks = "from keybroker.cli import child_probe; print(list(child_probe._ancestors()))"
    command = ["sh", "-c", f'env -u CI_JOB_TOKEN "{sys.executable}" -c "{looks}"; true']
    environ = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), "CI_JOB_TOKEN": "made-up-token"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=True)
    assert "(sh): CI_JOB_TOKEN" in done.stdout
    assert "made-up-token" not in done.stdout


def test_sudo_is_a_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sudo that asks for no password is a door, and one that does is none."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for code, said in (("0", ["sudo works without a password"]), ("1", [])):
        (tmp_path / "sudo").write_text(f'#!/bin/sh\ntest "$*" = "-n true" || exit 9\nexit {code}\n')
        (tmp_path / "sudo").chmod(0o755)
        assert found("root") == said


def test_root_is_a_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """To run as root is a door."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert found("root") == ["it runs as root"]
