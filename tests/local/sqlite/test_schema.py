"""A state file is brought up to date, and one that is newer is refused."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from chalicelib.errors import Unavailable
from local.sqlite import schema
from local.sqlite.schema import VERSION
from local.sqlite.state_file import StateFile


def content(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
        return [*connection.execute("PRAGMA user_version").fetchall(), *made]


def before_versions(path: Path) -> None:
    """Make a file as it was before files had a version, with a column less, and a revocation."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema._TABLES)
        connection.execute("ALTER TABLE counters DROP COLUMN seen")
        connection.execute(
            "INSERT INTO revocations (id, scope, target, reason, author, at) VALUES ('r', 'token', 't', '', '', 5)"
        )
        connection.commit()
    path.chmod(0o600)


def test_an_older_file_is_brought_up_to_date(tmp_path: Path) -> None:
    """A file from before versions gets all that a new one has, and keeps what is in it; again changes nothing."""
    path, new = tmp_path / "state.db", tmp_path / "new.db"
    before_versions(path)
    for _ in range(2):
        StateFile.create(path)
    StateFile.create(new)
    assert {row[1] for row in content(path)[1:]} == {row[1] for row in content(new)[1:]}
    assert content(path)[0] == (VERSION,)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT target, kept_from FROM revocations").fetchall() == [("t", 5)]
        assert "seen" in [row[1] for row in connection.execute("PRAGMA table_info(counters)")]


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """A file that a newer version made is refused in words by a start and by every connection, and is left as it is."""
    path = tmp_path / "state.db"
    StateFile.create(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = content(path)
    attempts: list[Callable[[], object]] = [lambda: StateFile.create(path), lambda: StateFile(path).bind()]
    for attempt in attempts:
        with pytest.raises(Unavailable, match="state_file_newer") as caught:
            attempt()
        assert f"version {VERSION + 1}" in caught.value.hint
    assert content(path) == before


def test_a_command_does_not_use_an_older_file(tmp_path: Path) -> None:
    """A file that no start has brought up to date is refused in words."""
    path = tmp_path / "state.db"
    before_versions(path)
    with pytest.raises(Unavailable, match="state_file_older"):
        StateFile(path).bind()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    """A file that cannot be brought up to date is as it was before."""
    path = tmp_path / "state.db"
    before_versions(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE INDEX counters_by_start ON counters (start)")  # in the way of a step
    before = content(path)
    with pytest.raises(Unavailable, match="state_unavailable") as caught:
        StateFile.create(path)
    assert "counters_by_start" in caught.value.hint
    assert content(path) == before


_CONTENT = (
    "INSERT INTO things (scope, id, config, key_version, epoch, blocks) VALUES ('key', 'openai', '{}', '{}', 7, '{}')",
    "INSERT INTO counters (what, grant_name, principal, window, start, taken) VALUES ('calls', 'g', 'p', 'day', 0, 41)",
    "INSERT INTO refusals VALUES ('calls', 'g', 'p', 'day', 0, 'quota_calls', 3)",
    "INSERT INTO locks VALUES ('l', 9999999999, 'i', 'r', '{}')",
    "INSERT INTO pins VALUES ('p', 'unique', 5)",
    "INSERT INTO policies VALUES (3, 'keys: {}', 'ada', 5)",
    "INSERT INTO revocations (id, scope, target, reason, author, at) VALUES ('r', 'key', 'openai', 'leak', 'ada', 5)",
    "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event) VALUES (5, 'key.set', '', '', '', '', '{}')",
)
_TABLES = ("things", "counters", "refusals", "locks", "pins", "policies", "revocations", "audit")


def of_version(path: Path, version: int) -> None:
    """Make a file as a Keybroker of this version left it, with something in every table."""
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for step in schema._STEPS[:version]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {version}")
        for statement in _CONTENT:
            connection.execute(statement)


def rows(path: Path) -> dict[str, list[dict[str, object]]]:
    """What is in the tables that every version has."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {table: [dict(one) for one in connection.execute(f"SELECT * FROM {table}")] for table in _TABLES}  # noqa: S608  constants


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("of", range(1, VERSION))
def test_every_version_comes_forward_with_its_content(tmp_path: Path, of: int) -> None:
    """A file of every version before becomes one as a new one is, and each row has what it had."""
    path, new = tmp_path / "state.db", tmp_path / "new.db"
    of_version(path, of)
    before = rows(path)
    StateFile.create(path)
    StateFile.create(new)
    assert {row[1] for row in content(path)[1:]} == {row[1] for row in content(new)[1:]}
    assert version(path) == VERSION
    after = rows(path)
    for table, held in before.items():
        assert [one | old for one, old in zip(after[table], held, strict=True)] == after[table], table


@pytest.mark.slow
def test_an_upgrade_that_is_killed(tmp_path: Path) -> None:
    """An upgrade that is killed at any of its statements leaves the old file or the new one; the next one finishes."""
    versions = []
    for statement in range(1, 100):
        path = tmp_path / f"{statement}.db"
        of_version(path, 1)
        before = rows(path)
        child = os.fork()
        if not child:
            _killed_at(path, statement)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        versions.append(version(path))
        held = rows(path)
        assert [one | old for one, old in zip(held["things"], before["things"], strict=True)] == held["things"]
        StateFile.create(path)
        assert version(path) == VERSION
        if not killed:
            break
    assert versions == sorted(versions)
    assert set(versions) == {1, VERSION}
    assert len(versions) > 10


def _killed_at(path: Path, statement: int) -> NoReturn:
    """Bring a file up to date, and kill this process before the nth statement."""
    seen = 0

    def count(_statement: str) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    connection = sqlite3.connect(path, isolation_level=None)
    connection.set_trace_callback(count)
    schema.migrate(connection)
    os._exit(0)
