"""The state file of one machine: one SQLite database in WAL mode that several threads and processes share."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from chalicelib.errors import StateUnavailable
from local.errors import StateFileReplaced

WAIT_MS = 50
"""Milliseconds that a transaction waits for another writer before it raises Unavailable."""
_PAUSE = (0.00002, 0.0003)
"""Seconds between two attempts to begin, at random between these."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS things (           -- revocation targets; config, blocks and epoch are set separately
    scope TEXT NOT NULL, id TEXT NOT NULL,
    config TEXT,                              -- JSON; NULL: nothing of this name
    key_version TEXT,                         -- of keys: JSON of the version in force, NULL: its value was never set
    epoch INTEGER NOT NULL DEFAULT 0,
    blocks TEXT NOT NULL DEFAULT '{}',        -- JSON: revocation id -> end or null
    issuer TEXT, key TEXT,                    -- of grants, to find the candidates
    PRIMARY KEY (scope, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS grants_by_issuer_and_key ON things (issuer, key) WHERE issuer IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (
    what TEXT NOT NULL, grant_name TEXT NOT NULL, principal TEXT NOT NULL,
    window TEXT NOT NULL, start INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    key TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '',   -- of tokens: labels for the usage report
    seen INTEGER NOT NULL DEFAULT 0,          -- when it was last added to, to the minute
    PRIMARY KEY (principal, grant_name, what, window, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusals (         -- refusals by reason; each has a row of counters, too
    what TEXT NOT NULL, grant_name TEXT NOT NULL, principal TEXT NOT NULL,
    window TEXT NOT NULL, start INTEGER NOT NULL,
    reason TEXT NOT NULL, refused INTEGER NOT NULL,
    PRIMARY KEY (principal, grant_name, what, window, start, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS locks (
    id TEXT PRIMARY KEY, expires INTEGER NOT NULL,
    idempotency TEXT NOT NULL, request TEXT NOT NULL, claims TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (principal TEXT PRIMARY KEY, unique_id TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policies (         -- the newest is in force
    version INTEGER PRIMARY KEY, text TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS revocations (
    id TEXT PRIMARY KEY, scope TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, author TEXT NOT NULL,
    at INTEGER NOT NULL, until INTEGER, lifted_at INTEGER, lifted_by TEXT);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL, kind TEXT NOT NULL, request_id TEXT NOT NULL, principal TEXT NOT NULL,
    grant_name TEXT NOT NULL, key TEXT NOT NULL,
    event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_request ON audit (request_id);
CREATE INDEX IF NOT EXISTS audit_by_principal ON audit (principal, seq);
"""

_ADDED = {
    "things": {"key_version": "TEXT"},
    "counters": {
        "key": "TEXT NOT NULL DEFAULT ''",
        "name": "TEXT NOT NULL DEFAULT ''",
        "seen": "INTEGER NOT NULL DEFAULT 0",
    },
}
"""Columns that tables of older files lack."""


class StateFile:
    """A state file that exists already. durable: whether a commit outlives a power cut, not only `kill -9`.

    It is the file of the first use: moved away and back, it is used again; another file in its place is used only after
    a restart.
    """

    def __init__(self, path: Path, *, durable: bool = True, identity: tuple[int, int] | None = None) -> None:
        """identity: device and inode of the one file to use; None: of the first use."""
        self.path = path
        self._name = str(path)
        self._synchronous = "FULL" if durable else "NORMAL"
        self._open = threading.local()
        self._identity = identity

    @classmethod
    def create(cls, path: Path) -> StateFile:
        """Create the file, or bring an older one up to date; the only place that does. Raises Unavailable."""
        try:
            # SECURITY: a file that exists is not opened here but by SQLite, for to close it would drop every lock that
            # this process has on it, SQLite's too (test_making_the_file_again_drops_no_lock).
            if not path.exists():
                path.touch(mode=0o600)
            connection = sqlite3.connect(path, isolation_level=None, timeout=5)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                _add_columns(connection)
                connection.executescript(_SCHEMA)
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StateUnavailable(hint=str(error)) from error
        return cls(path)

    def bind(self) -> StateFile:
        """Use the file that is there now from here on, and return self; raises Unavailable."""
        with self.reading():
            return self

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction that reads one consistent view of the file; raises Unavailable."""
        return _Transaction(self, "BEGIN")

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction that is committed as a whole, or rolled back if anything is raised; raises Unavailable."""
        return _Transaction(self, "BEGIN IMMEDIATE")

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, as far as other connections allow; raises Unavailable."""
        try:
            self.connection().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StateUnavailable(hint=str(error)) from error

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._open, "connection", None)
        if connection is not None:
            connection.close()
            self._open.connection = None

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at its first use; raises Unavailable, OSError or sqlite3.Error."""
        status = os.stat(self._name)  # noqa: PTH116  on the path of every call
        identity = (status.st_dev, status.st_ino)
        # SECURITY: a file that was removed or replaced is noticed, and neither made anew nor opened: another one has
        # forgotten revocations, and SQLite would mix our write-ahead log into it, or drop the log
        # (test_a_missing_state_file_refuses, test_what_was_put_in_its_place_is_never_opened).
        if (self._identity or identity) != identity or status.st_size == 0:
            raise StateFileReplaced
        connection: sqlite3.Connection | None = getattr(self._open, "connection", None)
        if connection is not None:
            return connection
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=WAIT_MS / 1000
        )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        if self._synchronous == "NORMAL":
            # Such a connection waits for the disk at checkpoints only, and it sits on an event loop: local/sqlite/maintenance.py
            # makes the checkpoints.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        # After a crash the first connection repairs the log, and others wait for that here. From then on `_begin` waits.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        self._open.connection, self._identity = connection, identity
        return connection


class _Transaction:
    """A transaction on this thread's connection. It is a class because a generator costs the edge twice as much."""

    __slots__ = ("_begin", "_connection", "_state")
    _connection: sqlite3.Connection

    def __init__(self, state: StateFile, begin: str) -> None:
        self._state, self._begin = state, begin

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._state.connection()
            _begin(self._connection, self._begin)
        except (sqlite3.Error, OSError) as error:
            self._state.close()  # the next call opens a new one, so recovery needs no help
            raise StateUnavailable(hint=str(error)) from error
        return self._connection

    def __exit__(self, _kind: object, raised: BaseException | None, _where: object) -> None:
        try:
            try:
                if raised is None:
                    self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raised = error
        if isinstance(raised, sqlite3.Error | OSError):
            self._state.close()
            raise StateUnavailable(hint=str(raised)) from raised


def _begin(connection: sqlite3.Connection, begin: str) -> None:
    """Begin a transaction, and wait for another writer up to WAIT_MS; raises sqlite3.OperationalError."""
    # SQLite's own wait tries six times in 50 ms, with longer and longer pauses: the longest waiter comes last.
    ends = time.monotonic() + WAIT_MS / 1000
    while True:
        try:
            connection.execute(begin)
        except sqlite3.OperationalError as busy:
            if busy.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311  jitter, no secret
        else:
            return


def _add_columns(connection: sqlite3.Connection) -> None:
    """Add the columns that the tables of an older file lack; a new file has no tables yet."""
    for table, columns in _ADDED.items():
        there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for name, form in columns.items():
            if there and name not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {form}")
