"""A state file as it was at one moment: copied while it is used, checked, and taken out of use."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from local.errors import BackupUnusable, BackupUnwritable, StateInUse
from local.sqlite.state_file import StateFile


@contextlib.contextmanager
def moment(state: StateFile) -> Iterator[sqlite3.Connection]:
    """Yield a connection to which the file stays as it is now, whatever others write; raises Unavailable."""
    with state.reading() as connection:
        connection.execute("SELECT count(*) FROM things").fetchone()  # a transaction's view begins with its first read
        yield connection


def copy(connection: sqlite3.Connection, path: Path) -> None:
    """Copy what a connection sees to a new file, mode 0600, which is on the disk then; raises BackupUnwritable."""
    path.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as target:
            connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        raise BackupUnwritable(hint=str(error)) from error


def check(connection: sqlite3.Connection) -> None:
    """Read everything that a connection sees; raises BackupUnusable if anything in it is damaged, or sqlite3.Error."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise BackupUnusable(hint=f"the state is damaged: {' '.join(str(found).split())[:200]}")


def check_file(path: Path) -> None:
    """Do the same for a file that nobody else uses; raises BackupUnusable."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            check(connection)
    except sqlite3.Error as error:
        raise BackupUnusable(hint=f"{path.name}: {error}") from error


@contextlib.contextmanager
def taken_out_of_use(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Keep everybody else out of a state file meanwhile, and yield a connection to it; None if it is none, or damaged.

    Raises StateInUse while any program has it open, also one that holds no lock on the directory.
    """
    if not path.exists() or not path.stat().st_size:
        yield None
        return
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=1)
    ) as one:
        try:
            # SECURITY: this needs the file alone, and leaves no write-ahead log beside it, which SQLite would mix into the
            # file that takes its place (test_a_program_that_reads_keeps_a_restore_out).
            one.execute("PRAGMA journal_mode = DELETE")
            one.execute("BEGIN EXCLUSIVE")
            one.execute("SELECT count(*) FROM things").fetchone()
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StateInUse(hint=f"a program uses {path}: stop it") from error
            yield None
            return
        yield one
        one.execute("COMMIT")
