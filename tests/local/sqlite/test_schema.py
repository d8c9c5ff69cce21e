"""A state file is brought up to date, and one that is newer is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

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
