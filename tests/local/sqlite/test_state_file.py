"""The state file: transactions, one connection for each thread, and what it does when it is not there."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chalicelib.errors import StateUncertain, Unavailable
from local.sqlite.state_file import WAIT_MS, StateFile

_SET = "INSERT INTO things (scope, id, epoch) VALUES ('key', ?, 1)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file of this test is."""
    return tmp_path / "state.db"


@pytest.fixture
def state(path: Path) -> StateFile:
    """A new state file."""
    return StateFile.create(path)


def _write(state: StateFile, name: str) -> None:
    with state.writing() as connection:
        connection.execute(_SET, (name,))


def _names(state: StateFile) -> set[str]:
    with state.reading() as connection:
        return {str(row[0]) for row in connection.execute("SELECT id FROM things")}


def _reason(state: StateFile) -> str:
    with pytest.raises(Unavailable) as caught, state.reading():
        pass
    return caught.value.reason


def test_only_its_owner_can_read_the_file_and_what_lies_beside_it(state: StateFile, path: Path) -> None:
    _write(state, "a")
    made = sorted(path.parent.iterdir())
    assert [one.name for one in made] == ["state.db", "state.db-shm", "state.db-wal"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in made} == {0o600}
    state.close()


def test_making_it_again_keeps_what_is_there(state: StateFile, path: Path) -> None:
    _write(state, "a")
    again = StateFile.create(path)
    assert _names(again) == {"a"}
    again.close()
    assert _names(state) == {"a"}
    state.close()


def test_a_file_that_is_no_database_cannot_be_made_one(path: Path) -> None:
    path.write_bytes(b"these are a person's notes\n" * 400)
    with pytest.raises(Unavailable, match="state_unavailable"):
        StateFile.create(path)
    assert path.read_bytes().startswith(b"these are a person's notes")


def test_a_raising_transaction_writes_nothing(state: StateFile) -> None:
    """A transaction that raises writes nothing, and raises the same exception."""

    def fail() -> None:
        with state.writing() as connection:
            connection.execute(_SET, ("a",))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fail()
    assert _names(state) == set()
    _write(state, "a")
    state.close()


def test_a_statement_that_fails_is_unavailable_and_writes_nothing(state: StateFile) -> None:
    def fail() -> None:
        with state.writing() as connection:
            connection.execute(_SET, ("a",))
            connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(Unavailable, match="state_unavailable"):
        fail()
    assert _names(state) == set()
    state.close()


def test_a_commit_that_fails_is_uncertain(state: StateFile) -> None:
    """A commit that fails may be in force or not, and the refusal says so; what fails before it changed nothing."""
    with state.writing() as connection:
        connection.execute("CREATE TABLE one (id PRIMARY KEY REFERENCES two (id) DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("CREATE TABLE two (id PRIMARY KEY)")
    state.connection().execute("PRAGMA foreign_keys = ON")

    def write(statement: str) -> None:
        with state.writing() as connection:
            connection.execute(statement)

    with pytest.raises(StateUncertain, match="state_uncertain") as caught:
        write("INSERT INTO one VALUES (1)")  # it is the commit that finds out
    assert "may or may not be in force" in caught.value.description
    with pytest.raises(Unavailable, match="state_unavailable"):
        write("INSERT INTO three VALUES (1)")
    _write(state, "a")
    state.close()


def test_a_view_does_not_change_while_it_is_read(state: StateFile, path: Path) -> None:
    other = StateFile(path)
    with state.reading() as connection:
        before = connection.execute("SELECT count(*) FROM things").fetchone()
        _write_in_a_thread(other, "a")
        assert connection.execute("SELECT count(*) FROM things").fetchone() == before
    assert _names(state) == {"a"}
    state.close()


def _write_in_a_thread(state: StateFile, name: str) -> None:
    def write() -> None:
        _write(state, name)
        state.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(10)


def test_each_thread_has_a_connection_of_its_own(state: StateFile) -> None:
    _write(state, "a")
    _write_in_a_thread(state, "b")
    assert _names(state) == {"a", "b"}
    state.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
def test_durable_waits_for_the_disk_at_each_commit(path: Path, *, durable: bool, synchronous: int) -> None:
    StateFile.create(path).close()
    state = StateFile(path, durable=durable)
    with state.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    state.close()


def test_a_writer_waits_a_bounded_time_for_another(state: StateFile, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="state_unavailable"):
        _write(state, "a")
    assert WAIT_MS / 1000 * 0.5 < time.monotonic() - started < 2
    other.execute("ROLLBACK")
    other.close()
    _write(state, "a")
    state.close()


def test_a_missing_state_file_refuses(state: StateFile, path: Path) -> None:
    _write(state, "a")
    path.rename(path.with_suffix(".away"))
    assert _reason(state) == "state_unavailable"
    assert not path.exists()
    path.with_suffix(".away").rename(path)
    assert _names(state) == {"a"}
    state.close()


def test_a_state_file_that_was_never_made_refuses(path: Path) -> None:
    assert _reason(StateFile(path)) == "state_unavailable"
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8192, b"SQLite format 3\0" + b"\0" * 8176], ids=["empty", "zeros", "head"]
)
def test_what_was_put_in_its_place_is_never_opened(state: StateFile, path: Path, content: bytes) -> None:
    _write(state, "a")  # in the write-ahead log, which SQLite would throw away or mix into the wrong file
    path.rename(path.with_suffix(".away"))
    path.write_bytes(content)
    assert _reason(state) == "state_file_replaced"
    path.with_suffix(".away").rename(path)
    assert _names(state) == {"a"}
    with state.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    state.close()


def test_another_state_file_in_its_place_refuses(state: StateFile, path: Path) -> None:
    _write(state, "a")
    path.rename(path.with_suffix(".away"))
    other = path.with_name("other.db")
    StateFile.create(other).close()
    other.rename(path)
    assert _reason(state) == "state_file_replaced"
    path.with_suffix(".away").rename(path)
    assert _names(state) == {"a"}
    state.close()


@pytest.mark.parametrize("put", [False, True], ids=["empty at first use", "emptied later"])
def test_an_empty_file_is_no_state_file(path: Path, *, put: bool) -> None:
    if put:
        state = StateFile.create(path)
        _write(state, "a")
        state.close()
        path.write_bytes(b"")
    else:
        path.touch()
        state = StateFile(path)
    assert _reason(state) == "state_file_replaced"


def test_another_state_file_is_served_after_a_restart(state: StateFile, path: Path) -> None:
    _write(state, "a")
    state.close()
    content = path.read_bytes()
    path.unlink()
    path.with_name("held").touch()  # or the copy might get the same inode, and be taken for the same file
    path.write_bytes(content)
    restarted = StateFile(path)
    assert _names(restarted) == {"a"}
    restarted.close()


_ELSEWHERE = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO things (scope, id) VALUES ('key', ?)", (sys.argv[2],))
print(",".join(sorted(row[0] for row in connection.execute("SELECT id FROM things"))))
connection.close()
"""


def _elsewhere(path: Path, name: str) -> str:
    """Write from another process that comes and goes, and return all names that it sees."""
    command = [sys.executable, "-c", _ELSEWHERE, str(path), name]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def test_making_the_file_again_drops_no_lock(state: StateFile, path: Path) -> None:
    _write(state, "a")
    StateFile.create(path)
    assert _elsewhere(path, "b") == "a,b"
    _write(state, "c")
    assert _elsewhere(path, "d") == "a,b,c,d"
    state.close()
