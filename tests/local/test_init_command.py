"""`init` makes what a server needs, once, and for its owner alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local import configuration
from local.__main__ import main
from tests.local.test_machine import POLICY
from tests.running import ROOT

Output = pytest.CaptureFixture[str]
MADE = {"keybroker.toml", "keybroker.yaml", "admin.env", "state"}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_it_makes_is_its_owners(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, nobody else can read or change anything."""
    before = os.umask(umask)
    try:
        assert main(["init", str(tmp_path / "k")]) == 0
    finally:
        os.umask(before)
    made = [tmp_path / "k", *(tmp_path / "k").rglob("*")]
    assert {path.name for path in made if path.parent == tmp_path / "k"} == MADE
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_what_it_makes_can_be_served(tmp_path: Path, capsys: Output, provider: str) -> None:
    """The configuration is one, the policy is in force, and the one key is not set yet."""
    assert main(["init", str(tmp_path / "k"), "--provider", provider, "--port", "9000"]) == 0
    path = tmp_path / "k" / "keybroker.toml"
    told = configuration.read(path)
    assert told.administration is not None
    doors = (told.broker, told.edge, told.administration)
    assert [door.listen.port for door in doors] == [9000, 9001, 9002]
    capsys.readouterr()
    assert main(["serve", "--config", str(path), "--check"]) == 0
    assert f"these keys are not set: {provider}" in capsys.readouterr().err


def test_what_was_there_is_kept(tmp_path: Path, capsys: Output) -> None:
    """A policy that is there already is put in force as it is, also if others may read it, and is not said to have been made."""
    (tmp_path / "k").mkdir(0o700)
    policy = tmp_path / "k" / "keybroker.yaml"
    policy.write_text(POLICY)
    policy.chmod(0o644)
    assert main(["init", "--provider", "anthropic", str(tmp_path / "k")]) == 0
    said = capsys.readouterr().err
    assert f"kept {policy}: the policy that was there\n" in said
    assert f"made {tmp_path / 'k' / 'state'}: the state directory\n" in said
    assert policy.read_text() == POLICY
    assert main(["serve", "--config", str(tmp_path / "k" / "keybroker.toml"), "--check"]) == 0
    assert "these keys are not set: openai" in capsys.readouterr().err


def test_a_faulty_policy_is_said(tmp_path: Path, capsys: Output) -> None:
    """Each fault of a policy that is there already is a line with its place, and nothing is made."""
    (tmp_path / "k").mkdir(0o700)
    policy = tmp_path / "k" / "keybroker.yaml"
    policy.write_text("keys: {own: {provider: nobody}}\ngrants: {}\n")
    assert main(["init", str(tmp_path / "k")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["error:"] * 2
    assert {line.split(":")[2] for line in lines} == {"1", "2"}
    assert [one.name for one in (tmp_path / "k").iterdir()] == ["keybroker.yaml"]


def test_what_is_commented_out_can_be_said(tmp_path: Path) -> None:
    """Every line of the configuration that is commented out is one that may be there."""
    assert main(["init", str(tmp_path / "k")]) == 0
    path = tmp_path / "k" / "keybroker.toml"
    lines = [
        line.removeprefix("# ") if "=" in line or "[tls]" in line or "[timeouts]" in line else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines[2:]))
    told = configuration.read(path)
    assert (told.workers, told.drain_seconds, told.keep_records) == (2, 3, 400)
    assert told.tls is not None
    assert told.broker.public_url == "https://broker.example.com"


def test_the_credentials_are_a_shells(tmp_path: Path) -> None:
    """A shell takes the administrator's variables, also from a directory with a hostile name."""
    here = tmp_path / "a $(touch x); 'b\ntouch x\n"
    here.mkdir()
    assert main(["init", str(here / "k")]) == 0
    script = '. "$1"; echo "$AWS_ACCESS_KEY_ID $KEYBROKER_ADMIN_URL ${AWS_PROFILE-none}"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(here / "k" / "admin.env")],
        env={"AWS_PROFILE": "another"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    key, url, profile = done.stdout.split()
    assert (key[:4], url, profile, done.stderr) == ("AKIA", "http://127.0.0.1:8082", "none", "")
    assert {path.name for path in tmp_path.iterdir()} == {here.name}


def test_a_second_time_changes_nothing(tmp_path: Path, capsys: Output) -> None:
    """What is there stays, and that is said in one line; what an end in the middle left is completed."""
    assert main(["init", str(tmp_path / "k")]) == 0
    before = (tmp_path / "k" / "admin.env").read_text()
    capsys.readouterr()
    assert main(["init", str(tmp_path / "k")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/k/keybroker.toml is there already: nothing was changed\n"
    (tmp_path / "k" / "keybroker.toml").unlink()
    assert main(["init", str(tmp_path / "k")]) == 0
    assert (tmp_path / "k" / "admin.env").read_text() == before


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_directory_of_others_is_refused(tmp_path: Path, capsys: Output, mode: int) -> None:
    """Where others may write, nothing is made."""
    (tmp_path / "k").mkdir()
    (tmp_path / "k").chmod(mode)
    assert main(["init", str(tmp_path / "k")]) == 1
    assert capsys.readouterr().err.startswith("error: state_open_to_others (")
    assert list((tmp_path / "k").iterdir()) == []


def test_no_way_there_is_one_line(tmp_path: Path, capsys: Output) -> None:
    """A directory in one that is not there is refused, since it would be made with modes of chance."""
    assert main(["init", str(tmp_path / "none" / "k")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 8, 200])
def test_a_full_disk_is_one_line(tmp_path: Path, blocks: int) -> None:
    """Without room for all of it, it is one line that says what could not be written; with room, the next one makes it."""
    command = [sys.executable, "-m", "local", "--installed", "init", str(tmp_path / "k")]
    limited = ["sh", "-c", f'ulimit -f {blocks} && exec "$@"', "sh", *command]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.startswith(("error: state_unavailable (", f"error: [Errno 27] File too large: '{tmp_path}/k/"))
    assert not (tmp_path / "k" / "keybroker.toml").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "k" / "keybroker.toml").exists()
