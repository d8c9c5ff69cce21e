"""`python -m local state`: backups of a server that runs, and restores that revive nothing."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import Unavailable
from chalicelib.revocation import EVERYTHING
from local import directory_lock
from local.__main__ import main
from local.machine import Machine
from local.sqlite.schema import VERSION
from tests.local.test_machine import REAL, events, set_real_key, start
from tests.local.test_machine import policy as policy  # noqa: PLC0414  a fixture
from tests.local.test_serve import _free_ports
from tests.running import ROOT
from tests.running import start as serve

pytestmark = pytest.mark.slow  # each makes and reads whole directories

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """Let go of the directories that a command holds until its process ends."""
    yield
    _release()


def _release() -> None:
    for link in Path("/proc/self/fd").iterdir():
        status = link.stat() if link.exists() else None
        if status and (status.st_dev, status.st_ino) in directory_lock._HELD:
            os.close(int(link.name))
    directory_lock._HELD.clear()


@pytest.fixture
def machine(tmp_path: Path, policy: Path) -> Machine:
    """A real installation that does not run now, with a key."""
    made = start(tmp_path / "state", REAL, policy)
    set_real_key(made)
    return made


def _do(capsys: Output, *arguments: object) -> tuple[int, Any, str]:
    gc.collect()  # connections that tests left open would be another program's
    code = main(["state", *map(str, arguments)])
    _release()
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err


def _backed_up(capsys: Output, machine: Machine, name: str = "backup") -> Path:
    path = machine.directory.parent / name
    code, _, said = _do(capsys, "backup", path, "--state", machine.directory)
    assert (code, said) == (0, "")
    return path


def _content(directory: Path) -> dict[str, object]:
    """What every file holds; of the state file what is in it, since it moves by itself between file and log."""
    files = [one for one in directory.rglob("*") if one.is_file() and not one.name.startswith("state.db")]
    with closing(sqlite3.connect(directory / "state.db")) as connection:
        dump = list(connection.iterdump())
    return {"state.db": dump, **{str(one.relative_to(directory)): one.read_bytes() for one in files}}


@pytest.mark.slow
def test_no_token_revives(tmp_path: Path, capsys: Output) -> None:
    """A token that was revoked after the backup is refused after its restore, any other of before too; new ones work."""
    ports = ("--port", str(_free_ports()))
    with serve(*ports, directory=tmp_path) as running:
        revoked, other = running.token("1601"), running.token("1602")
        assert _do(capsys, "backup", tmp_path / "b", "--state", running.state)[0] == 0
        running.revoke("principal", running.sub("1601"))
        code, done, said = _do(capsys, "restore", tmp_path / "b", "--state", running.state)
        assert (code, done) == (1, None)
        assert said.startswith("error: state_in_use (another server uses")
        assert len(said.splitlines()) == 1
        assert running.complete(other).status == 200
    code, done, said = _do(capsys, "restore", tmp_path / "b", "--state", running.state)
    assert (code, done["carried_over"]["revocations"]) == (0, 1), said
    with serve(*ports, directory=tmp_path) as running:
        answers = [running.complete(one) for one in (revoked, other)]
        assert [one.json["error"]["code"] for one in answers] == ["revoked", "invalid_token"]
        assert "stale_everything" in running.log.read_text()
        answer = running.exchange(running.mint("1601"))  # what is known here stays in force
        assert "revoked (principal)" in answer.json["error_description"]
        newer = running.token("1602")
        assert running.complete(newer).status == 200
    shutil.rmtree(running.state)  # the machine is gone, and with it all that was revoked since
    code, done, said = _do(capsys, "restore", tmp_path / "b", "--state", running.state)
    assert (code, done["carried_over"], done["kept_aside"]) == (0, None, None)
    assert "repeat the revocations" in said
    with serve(*ports, directory=tmp_path) as running:
        answers = [running.complete(one) for one in (revoked, other, newer)]
        assert [one.json["error"]["code"] for one in answers] == ["invalid_token"] * 3
        assert running.complete(running.token("1602")).status == 200


def test_a_backup_is_whole(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A backup is one file for its owner alone, with the keys that are in force; its restore elsewhere serves the same."""
    path = _backed_up(capsys, machine)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    assert _do(capsys, "check", path)[1]["usable"] is True
    code, done, said = _do(capsys, "restore", path, "--state", tmp_path / "new")
    assert (code, done["administrators"], done["kept_aside"]) == (0, ["admin"], None), said
    again = start(tmp_path / "new", REAL, None)
    for name in ("signing-key.pem", "provider-keys.json", "admin.json"):
        assert (again.directory / name).read_bytes() == (machine.directory / name).read_bytes()
        assert stat.S_IMODE((again.directory / name).stat().st_mode) == 0o600
    assert again.control().current() == machine.control().current()
    [event] = events(again, "state.restored")
    assert (event.detail["file"], len(events(again, "state.backed_up"))) == (str(path), 1)
    assert "sk-real" not in json.dumps([one.to_json() for one in events(again, "key.set")])


def test_a_second_restore_is_above_the_first(machine: Machine, capsys: Output) -> None:
    """Each restore raises the epoch of everything above all that went before, whatever was counted meanwhile."""
    path, found = _backed_up(capsys, machine), []
    for _ in range(3):
        assert _do(capsys, "restore", path, "--state", machine.directory)[0] == 0
        found.append(machine.control().revocation_state(EVERYTHING).epoch)
        with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
            connection.execute("UPDATE things SET epoch = epoch + 10000000 WHERE scope = 'everything'")
        found.append(found[-1] + 10_000_000)
    assert found == sorted(set(found))
    assert found[0] >= (time.time() - 60) * 1000


def test_what_is_known_is_carried_over(machine: Machine, capsys: Output) -> None:
    """Events, used identity tokens, pins and counters since the backup stay; a replaced policy and key are said."""
    path = _backed_up(capsys, machine)
    machine.control().pin("p", "id-2", machine.event("principal.pinned", {}))
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("INSERT INTO locks VALUES ('l', 9999999999, '', '', '{}')")
        connection.execute(
            "INSERT INTO counters (what, grant_name, principal, window, start, taken) VALUES ('calls', 'g', 'p', 'day', 0, 7)"
        )
    current = machine.control().current()
    (machine.directory / "again.yaml").write_text(current.text + "# again\n")
    start(machine.directory, REAL, machine.directory / "again.yaml", apply=True)
    code, done, said = _do(capsys, "restore", path, "--state", machine.directory)
    assert code == 0
    assert "the policy is version 1 again, and was 2" in said
    assert done["carried_over"] == {"revocations": 0, "events": 2}
    assert len(events(machine, "principal.pinned")) == 1
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection:
        assert connection.execute("SELECT unique_id FROM pins").fetchall() == [("id-2",)]
        assert connection.execute("SELECT id FROM locks").fetchall() == [("l",)]
        assert connection.execute("SELECT taken FROM counters WHERE start = 0").fetchall() == [(7,)]


def test_a_lock_that_was_taken_over_stays(machine: Machine, capsys: Output) -> None:
    """Of a lock that the backup has as well, the one that is held longer stays, whichever state has it."""
    locks = "SELECT expires, idempotency FROM locks ORDER BY id"
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("INSERT INTO locks VALUES ('a', 5, 'old', '', '{}'), ('b', 9999999999, 'kept', '', '{}')")
    path = _backed_up(capsys, machine)
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("UPDATE locks SET expires = 9999999999, idempotency = 'new' WHERE id = 'a'")
        connection.execute("UPDATE locks SET expires = 5, idempotency = 'older' WHERE id = 'b'")
    assert _do(capsys, "restore", path, "--state", machine.directory)[0] == 0
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection:
        assert connection.execute(locks).fetchall() == [(9999999999, "new"), (9999999999, "kept")]


def test_a_removed_administrator_stays_out(machine: Machine, capsys: Output) -> None:
    """An administrator who was removed since the backup is not one again."""
    added = machine.administrators().add("mallory")
    path = _backed_up(capsys, machine)
    machine.administrators().remove("mallory")
    code, done, _ = _do(capsys, "restore", path, "--state", machine.directory)
    assert (code, done["administrators"]) == (0, ["admin"])
    assert not added.file.exists()


def test_the_old_directory_is_kept(machine: Machine, capsys: Output) -> None:
    """What a restore replaces is kept beside it, and can be read; a damaged state is replaced, and that is said."""
    path = _backed_up(capsys, machine)
    damaged = b"no database" * 1000
    for file in machine.directory.glob("state.db*"):
        file.unlink()
    (machine.directory / "state.db").write_bytes(damaged)
    (machine.directory / "state.db").chmod(0o600)
    code, done, said = _do(capsys, "restore", path, "--state", machine.directory)
    assert (code, done["carried_over"]) == (0, None)
    assert "could not be read" in said
    assert (Path(done["kept_aside"]) / "state.db").read_bytes() == damaged
    assert (Path(done["kept_aside"]) / "signing-key.pem").exists()
    start(machine.directory, REAL, None)


def test_a_program_that_reads_keeps_a_restore_out(machine: Machine, capsys: Output) -> None:
    """A restore is refused while any program has the state open, also one that is no server."""
    path = _backed_up(capsys, machine)
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection:
        connection.execute("SELECT count(*) FROM things").fetchone()
        before = _content(machine.directory)
        code, _, said = _do(capsys, "restore", path, "--state", machine.directory)
        assert (code, said) == (1, f"error: state_in_use (a program uses {machine.directory / 'state.db'}: stop it)\n")
        assert _content(machine.directory) == before


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
        (lambda path: _rewrite(path, f'"schema": {VERSION}'.encode(), b'"schema": 9'), "error: backup_newer ("),
        (lambda path: _rewrite(path, b'"admin.json"', b'"../../x.py"'), "error: backup_unusable ("),
    ],
)  # fmt: skip
def test_a_backup_of_no_use_changes_nothing(machine: Machine, capsys: Output, spoil: Any, said: str) -> None:  # noqa: ANN401
    """A backup that is cut off, damaged, newer or open to others is refused in one line, and the state stays as it was."""
    path = _backed_up(capsys, machine)
    spoil(path)
    before = _content(machine.directory)
    for verb in (("restore", path, "--state", machine.directory), ("check", path)):
        code, out, error = _do(capsys, *verb)
        assert (code, out, len(error.splitlines())) == (1, None, 1), error
        assert error.startswith(said)
        assert "sk-real" not in error
    assert _content(machine.directory) == before
    code, _, _ = _do(capsys, "restore", path, "--state", machine.directory.parent / "none")
    assert (code, (machine.directory.parent / "none").exists()) == (1, False)


def test_a_clock_of_the_past(machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore by a clock that is behind the backup's is refused: the epoch would not be above all that was issued."""
    path = _backed_up(capsys, machine)
    monkeypatch.setattr(time, "time_ns", lambda: 86_400 * 10**9)
    code, _, said = _do(capsys, "restore", path, "--state", machine.directory)
    assert (code, "set the clock" in said) == (1, True)


def test_a_name_leads_nowhere_else(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A member with the name of another place, or that is a link, is refused, and nothing is written."""
    path = _backed_up(capsys, machine)
    for name, kind in (("../evil", tarfile.REGTYPE), ("admin.json", tarfile.SYMTYPE)):
        made = tmp_path / "made"
        with tarfile.open(path) as old, tarfile.open(made, "w") as new:
            for member in old:
                if member.name == "admin.json":
                    member.name, member.type, member.linkname = name, kind, "/etc/passwd"
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        made.chmod(0o600)
        assert _do(capsys, "restore", made, "--state", machine.directory)[0] == 1
        assert not (machine.directory.parent / "evil").exists()
        assert not list(machine.directory.rglob("evil"))


def test_nothing_is_written_over(machine: Machine, capsys: Output) -> None:
    path = _backed_up(capsys, machine)
    before = path.read_bytes()
    code, _, said = _do(capsys, "backup", path, "--state", machine.directory)
    assert (code, path.read_bytes() == before) == (1, True)
    assert said.startswith("error: backup_unwritable (")


@pytest.mark.parametrize("part", ["copy", "file"])
def test_a_full_disk_leaves_no_backup(machine: Machine, capsys: Output, part: str) -> None:
    """A backup for which there is no room is one line, and leaves nothing; a restore likewise, and the state serves on."""
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("INSERT INTO pins VALUES (?, 'x', 1)", ("p" * 1_000_000,))
    size = (machine.directory / "state.db").stat().st_size
    whole = _backed_up(capsys, machine, "whole")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2 if part == "copy" else size + 4096, hard))
    try:
        code, _, said = _do(capsys, "backup", machine.directory.parent / "b", "--state", machine.directory)
        code_restore, _, said_restore = _do(capsys, "restore", whole, "--state", machine.directory.parent / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith(("error: backup_unwritable (", "error: [Errno 27]")), said
    if part == "copy":
        assert (code_restore, len(said_restore.splitlines())) == (1, 1), said_restore
        assert not (machine.directory.parent / "new").exists()
    assert sorted(one.name for one in machine.directory.parent.iterdir() if one.name.startswith((".", "b"))) == []
    start(machine.directory, REAL, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("verb", ["backup", "restore", "check"])
def test_the_owner_alone(machine: Machine, capsys: Output, verb: str) -> None:
    """The directory of another user is refused in one line, to root as well."""
    path = _backed_up(capsys, machine)
    os.chown(machine.directory, 12345, -1)
    named = [machine.directory.parent / "b"] if verb == "backup" else [path] if verb == "restore" else []
    code, _, said = _do(capsys, verb, *named, "--state", machine.directory)
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith("error: state_of_another_user (")


def test_a_newer_directory_is_refused(machine: Machine, capsys: Output) -> None:
    """A directory of a newer version is not backed up by an older one, which would not know what to copy."""
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    for verb in (("backup", machine.directory.parent / "b"), ("check",)):
        code, _, said = _do(capsys, *verb, "--state", machine.directory)
        assert (code, len(said.splitlines())) == (1, 1)
        assert said.startswith("error: state_file_newer (")
    assert not (machine.directory.parent / "b").exists()


def test_check_finds_damage(machine: Machine, capsys: Output) -> None:
    """A state directory is checked while it serves, and damage is one line."""
    assert _do(capsys, "check", "--state", machine.directory)[1]["usable"] is True
    (machine.directory / "signing-key.pem").write_text("none")
    code, _, said = _do(capsys, "check", "--state", machine.directory)
    assert (code, len(said.splitlines())) == (1, 1)


def test_a_half_restored_state_is_not_used(machine: Machine) -> None:
    """While a restore is unfinished, no command uses the state, and the next start finishes it."""
    (machine.directory / "restoring").mkdir()
    (machine.directory / "restoring" / "aside").write_text("before-restore-x")
    with pytest.raises(Unavailable, match="restore_interrupted"):
        machine.ledger()
    Machine(machine.directory, REAL).prepare(None, {}, alone=True)
    assert not (machine.directory / "restoring").exists()


def _killed(tmp_path: Path, verb: str) -> list[dict[str, Any]]:
    template = tmp_path / "template"
    template.mkdir()
    (tmp_path / "state").rename(template / "state")
    if (tmp_path / "backup").exists():
        (tmp_path / "backup").rename(template / "backup")
    script = ROOT / "tests" / "local" / "killed_state.py"
    command = [sys.executable, str(script), verb, str(template), str(tmp_path / "work")]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.slow
def test_a_restore_that_is_killed_is_finished(tmp_path: Path, machine: Machine, capsys: Output) -> None:
    """A restore that is killed at any step leaves the old state, or the restored one, whole, once the next start is done."""
    _backed_up(capsys, machine)
    text = machine.control().current().text
    (tmp_path / "again.yaml").write_text(text + "# again\n")
    start(machine.directory, REAL, tmp_path / "again.yaml", apply=True)
    found = _killed(tmp_path, "restore")
    versions = [one["policy"] for one in found]
    assert len(found) > 20
    assert versions == sorted(versions, reverse=True)  # first the old one, from one step on the restored one
    assert {2, 1} == set(versions)
    assert {one["value"] for one in found} == {"sk-real"}
    assert found[-1]["left"] == []


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_none(tmp_path: Path, machine: Machine) -> None:
    """A backup that is killed at any step is there as a whole or not at all; the next one works, and cleans up after it."""
    assert machine.control().current().version == 1
    found = _killed(tmp_path, "backup")
    assert len(found) > 20
    assert {(one["code"], one["policy"], one["value"]) for one in found} == {(0, 1, "sk-real")}
