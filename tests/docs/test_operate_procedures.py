"""docs/operate.md: a stolen deploy role, a move, an upgrade and a removal, typed to the letter for a server on this machine."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from local.sqlite import schema
from tests.keybroker.cli.keybroker_command import administrator, bare, run
from tests.local.test_serve import _free_ports
from tests.running import ROOT, start

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^( *)```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
HOME = "/var/lib/keybroker"
STATE = f"{HOME}/state"
CONFIG = f"--config {HOME}/keybroker.toml"


def commands(heading: str) -> list[str]:
    """Return the blocks of commands of a section."""
    begin = PAGE.index(f"\n## {heading}\n")
    section = PAGE[begin : PAGE.index("\n## ", begin + 4)]
    found = [textwrap.dedent(text) for _, text in FENCE.findall(section)]
    assert found, heading
    return found


def typed(script: str, here: Path, state: Path, environ: dict[str, str] | None = None) -> str:
    """Type commands in one shell, where the page's state directory is this one; return what they said."""
    text = script.replace(CONFIG, f"--practice --state {state}").replace(STATE, str(state)).replace(HOME, str(state))
    programs = f"{here / 'programs'}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{text}"],
        cwd=here,
        env={**bare(), **(environ or {}), "PATH": programs, "HOME": str(here)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def as_of(path: Path, version: int) -> None:
    """Turn a state file into what a Keybroker of an older version would have left, with all that it knew to keep."""
    older = path.with_name("older.db")
    with closing(sqlite3.connect(older, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for step in schema._STEPS[:version]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("ATTACH ? AS new", (str(path),))
        names = [name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
        for name in names:
            if name.startswith("sqlite_"):
                continue
            old, new = (
                [row[1] for row in connection.execute(f"PRAGMA {of}.table_info({name})")] for of in ("main", "new")
            )
            columns = ", ".join(one for one in old if one in new)
            connection.execute(f"DELETE FROM main.{name}")  # noqa: S608  names of our own tables
            connection.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM new.{name}")  # noqa: S608  as above
        connection.execute("DETACH new")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for left in path.parent.glob("state.db*"):
        left.unlink()
    older.chmod(0o600)
    for left in path.parent.glob("older.db*"):
        left.rename(left.with_name(left.name.replace("older", "state")))


def test_a_deploy_role_was_stolen(tmp_path: Path) -> None:
    """Everything is frozen while policy and audit are looked at, which are as they were, and then thawed."""
    freeze, look, thaw = commands("A deploy role was stolen")
    with start(directory=tmp_path) as running:
        token = running.token("8101")
        environ = administrator(running)
        typed(freeze + "echo $id >id", tmp_path, running.state, environ)
        assert running.complete(token).status == 403
        said = typed(look, tmp_path, running.state, environ)
        assert "version 1, in force since" in said
        assert "unbroken  yes" in said
        assert "restored: everything" in typed("id=$(cat id)\n" + thaw, tmp_path, running.state, environ)
        assert running.complete(running.token("8101")).status == 200


def test_a_move_to_another_machine(tmp_path: Path) -> None:
    """What was in force there is in force here: policy, keys and revocations; tokens from before are refused."""
    here, there = tmp_path / "here", tmp_path / "there"
    for one in (here, there):
        one.mkdir()
    back_up, restore = commands("Move to another machine or region")
    ports = ("--port", str(_free_ports()))  # the same addresses in both places, since tokens and issuers name them
    with start(*ports, directory=here) as running:
        token = running.token("8102")
        running.revoke("principal", running.sub("8103"))
    typed(back_up, tmp_path, running.state)
    typed(restore, tmp_path, there / "state")
    assert not (tmp_path / "keybroker.backup").exists()
    with start(*ports, directory=there) as moved:
        assert (moved.broker, moved.state) == (running.broker, there / "state")
        assert moved.complete(token).status == 401
        assert moved.complete(moved.token("8102")).status == 200
        assert "access is revoked" in moved.exchange(moved.mint("8103")).json["error_description"]
        kept = run("policy", "history", "--output", "json", environ=administrator(moved)).out
        assert '"version": 1' in kept


@pytest.mark.parametrize("version", [1, schema.VERSION - 1])
def test_an_upgrade(tmp_path: Path, version: int) -> None:
    """A state of an older version is served with its policy, its revocations and the tokens that it issued."""
    (script,) = commands("Upgrade")
    back_up, look = script.splitlines()
    ports = ("--port", str(_free_ports()))
    with start(*ports, directory=tmp_path) as running:
        token, revoked = running.token("8104"), running.token("8105")
        running.revoke("principal", running.sub("8105"))
    typed(back_up, tmp_path, running.state)
    as_of(running.state / "state.db", version)
    assert "ok: " in typed(look, tmp_path, running.state)
    with start(*ports, directory=tmp_path) as upgraded:
        assert upgraded.complete(token).status == 200
        assert upgraded.complete(revoked).status == 403
        assert "access is revoked" in upgraded.exchange(upgraded.mint("8105")).json["error_description"]
        assert "\n1        " in run("policy", "history", environ=administrator(upgraded)).out


def test_a_removal(tmp_path: Path) -> None:
    """The keys to withdraw are listed, and then nothing answers, and no key is left."""
    (script,) = commands("Remove")
    with start(directory=tmp_path) as running:
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "systemctl").write_text(
            f'#!/bin/sh\n[ "$*" = "disable --now keybroker.socket keybroker.service" ] && kill {running.process.pid}'
            f" && while [ -d /proc/{running.process.pid} ] && ! grep -q '^State:.Z' /proc/{running.process.pid}/status; do sleep 0.1; done\n"
        )
        (programs / "systemctl").chmod(0o755)
        said = typed(script, tmp_path, running.state, administrator(running))
        assert "openai" in said
        assert running.process.wait(timeout=15) is not None
        assert not running.state.exists()
