"""Restores, which revive nothing and forget nothing that is still known."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.revocation import EVERYTHING
from local.machine import Machine
from tests.local.state_commands import Output, backed_up, content, do
from tests.local.test_machine import REAL, events, start
from tests.local.test_serve import _free_ports
from tests.running import start as serve

pytestmark = pytest.mark.slow  # each makes and reads whole directories


@pytest.mark.slow
def test_no_token_revives(tmp_path: Path, capsys: Output) -> None:
    """A token that was revoked after the backup is refused after its restore, any other of before too; new ones work."""
    ports = ("--port", str(_free_ports()))
    with serve(*ports, directory=tmp_path) as running:
        revoked, other = running.token("1601"), running.token("1602")
        assert do(capsys, "backup", tmp_path / "b", "--state", running.state)[0] == 0
        running.revoke("principal", running.sub("1601"))
        code, done, said = do(capsys, "restore", tmp_path / "b", "--state", running.state)
        assert (code, done) == (1, None)
        assert said.startswith("error: state_in_use (another server uses")
        assert len(said.splitlines()) == 1
        assert running.complete(other).status == 200
    code, done, said = do(capsys, "restore", tmp_path / "b", "--state", running.state)
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
    code, done, said = do(capsys, "restore", tmp_path / "b", "--state", running.state)
    assert (code, done["carried_over"], done["kept_aside"]) == (0, None, None)
    assert "repeat the revocations" in said
    with serve(*ports, directory=tmp_path) as running:
        answers = [running.complete(one) for one in (revoked, other, newer)]
        assert [one.json["error"]["code"] for one in answers] == ["invalid_token"] * 3
        assert running.complete(running.token("1602")).status == 200


def test_a_second_restore_is_above_the_first(machine: Machine, capsys: Output) -> None:
    """Each restore raises the epoch of everything above all that went before, whatever was counted meanwhile."""
    path, found = backed_up(capsys, machine), []
    for _ in range(3):
        assert do(capsys, "restore", path, "--state", machine.directory)[0] == 0
        found.append(machine.control().revocation_state(EVERYTHING).epoch)
        with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
            connection.execute("UPDATE things SET epoch = epoch + 10000000 WHERE scope = 'everything'")
        found.append(found[-1] + 10_000_000)
    assert found == sorted(set(found))
    assert found[0] >= (time.time() - 60) * 1000


def test_what_is_known_is_carried_over(machine: Machine, capsys: Output) -> None:
    """Events, used identity tokens, pins and counters since the backup stay; a replaced policy and key are said."""
    path = backed_up(capsys, machine)
    machine.control().pin("p", "id-2", machine.event("principal.pinned", {}))
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("INSERT INTO locks VALUES ('l', 9999999999, '', '', '{}')")
        connection.execute(
            "INSERT INTO counters (what, grant_name, principal, window, start, taken) VALUES ('calls', 'g', 'p', 'day', 0, 7)"
        )
    current = machine.control().current()
    (machine.directory / "again.yaml").write_text(current.text + "# again\n")
    start(machine.directory, REAL, machine.directory / "again.yaml", apply=True)
    code, done, said = do(capsys, "restore", path, "--state", machine.directory)
    assert code == 0
    assert "the policy is version 1 again, and was 2" in said
    assert done["carried_over"] == {"revocations": 0, "events": 3}
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
    path = backed_up(capsys, machine)
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("UPDATE locks SET expires = 9999999999, idempotency = 'new' WHERE id = 'a'")
        connection.execute("UPDATE locks SET expires = 5, idempotency = 'older' WHERE id = 'b'")
    assert do(capsys, "restore", path, "--state", machine.directory)[0] == 0
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection:
        assert connection.execute(locks).fetchall() == [(9999999999, "new"), (9999999999, "kept")]


def test_a_removed_administrator_stays_out(machine: Machine, capsys: Output) -> None:
    """An administrator who was removed since the backup is not one again."""
    added = machine.administrators().add("mallory")
    path = backed_up(capsys, machine)
    machine.administrators().remove("mallory")
    code, done, _ = do(capsys, "restore", path, "--state", machine.directory)
    assert (code, done["administrators"]) == (0, ["admin"])
    assert not added.file.exists()


def test_the_old_directory_is_kept(machine: Machine, capsys: Output) -> None:
    """What a restore replaces is kept beside it, and can be read; a damaged state is replaced, and that is said."""
    path = backed_up(capsys, machine)
    damaged = b"no database" * 1000
    for file in machine.directory.glob("state.db*"):
        file.unlink()
    (machine.directory / "state.db").write_bytes(damaged)
    (machine.directory / "state.db").chmod(0o600)
    code, done, said = do(capsys, "restore", path, "--state", machine.directory)
    assert (code, done["carried_over"]) == (0, None)
    assert "could not be read" in said
    assert (Path(done["kept_aside"]) / "state.db").read_bytes() == damaged
    assert (Path(done["kept_aside"]) / "signing-key.pem").exists()
    start(machine.directory, REAL, None)


def test_a_program_that_reads_keeps_a_restore_out(machine: Machine, capsys: Output) -> None:
    """A restore is refused while any program has the state open, also one that is no server."""
    path = backed_up(capsys, machine)
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection:
        connection.execute("SELECT count(*) FROM things").fetchone()
        before = content(machine.directory)
        code, _, said = do(capsys, "restore", path, "--state", machine.directory)
        assert (code, said) == (1, f"error: state_in_use (a program uses {machine.directory / 'state.db'}: stop it)\n")
        assert content(machine.directory) == before


def test_a_clock_of_the_past(machine: Machine, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore by a clock that is behind the backup's is refused: the epoch would not be above all that was issued."""
    path = backed_up(capsys, machine)
    monkeypatch.setattr(time, "time_ns", lambda: 86_400 * 10**9)
    code, _, said = do(capsys, "restore", path, "--state", machine.directory)
    assert (code, "set the clock" in said) == (1, True)


def test_tokens_issued_after_the_backup(tmp_path: Path, capsys: Output) -> None:
    """A token of after the backup is dead after its restore, revoked or not, in whichever scope, also on a new machine."""
    ports = ("--port", str(_free_ports()))
    with serve(*ports, directory=tmp_path) as running:
        assert do(capsys, "backup", tmp_path / "b", "--state", running.state)[0] == 0
        everything = running.revoke("everything", "*")  # so that later tokens state an epoch that the backup never had
        assert running.administer("DELETE", f"/admin/revocations/{everything}").status == 200
        alive, gone, single = running.token("1701"), running.token("1702"), running.token("1703")
        running.revoke("principal", running.sub("1702"))
        running.revoke("token", _jti(single))
        assert [running.complete(one).status for one in (alive, gone, single)] == [200, 403, 403]
    (running.state).rename(tmp_path / "lost")
    assert do(capsys, "restore", tmp_path / "b", "--state", running.state)[0] == 0
    with serve(*ports, directory=tmp_path) as running:
        answers = [running.complete(one).json["error"]["code"] for one in (alive, gone, single)]
        assert answers == ["invalid_token"] * 3
        assert running.complete(running.token("1701")).status == 200


def _jti(token: str) -> str:
    payload = token.split(".")[1]
    found: str = json.loads(base64.urlsafe_b64decode(payload + "=="))["jti"]
    return found


def test_what_a_newer_state_knew_is_said(machine: Machine, capsys: Output) -> None:
    """A state of a newer Keybroker is replaced, what can be read of it carried over, and it is said that there is more."""
    path = backed_up(capsys, machine)
    machine.control().pin("p", "id-2", machine.event("principal.pinned", {}))
    with closing(sqlite3.connect(machine.directory / "state.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    code, done, said = do(capsys, "restore", path, "--state", machine.directory)
    assert (code, done["carried_over"]["events"]) == (0, 2)
    assert "is of a newer Keybroker" in said
    assert Path(done["kept_aside"]).is_dir()


def test_a_tainted_key_stays_so_after_a_restore(tmp_path: Path, capsys: Output) -> None:
    """A signing key that was tainted after the backup is not accepted after its restore; another one signs."""
    ports = ("--port", str(_free_ports()))
    with serve(*ports, directory=tmp_path) as running:
        (old,) = (one["kid"] for one in running.administer("GET", "/admin/signing").json["items"])
        assert do(capsys, "backup", tmp_path / "b", "--state", running.state)[0] == 0
        assert running.administer("POST", "/admin/signing", {"action": "prepare"}).status == 200
        taint = {"action": "taint", "kid": old, "reason": "it leaked"}
        assert running.administer("POST", "/admin/signing", taint).status == 200
    code, _, said = do(capsys, "restore", tmp_path / "b", "--state", running.state)
    assert code == 0, said
    with serve(*ports, directory=tmp_path) as running:
        found = {one["kid"]: one["status"] for one in running.administer("GET", "/admin/signing").json["items"]}
        assert (found.pop(old), list(found.values())) == ("tainted", ["signing"])
        assert running.complete(running.token("1603")).status == 200
