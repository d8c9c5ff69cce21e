"""The state file of one machine: one SQLite database in WAL mode that several threads and processes share."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

from chalicelib.errors import StateUnavailable, StateUncertain
from local.errors import StateFileReplaced
from local.sqlite import schema

WAIT_MS = 50
"""Milliseconds that a transaction waits for another writer before it raises Unavailable."""
PATIENT_MS = 250
"""The same for what nobody could do later; less than the second in which a call is to be answered."""
LOG_BYTES = 8 * 1024**2
"""Bytes of the write-ahead log above which it is begun anew (local/sqlite/write_ahead_log.py)."""
_PAUSE = (0.00002, 0.0003)
"""Seconds between two attempts to begin, at random between these."""
_LONG_PAUSE = (0.002, 0.006)
"""The same after WAIT_MS."""

_READ, _WRITE = "BEGIN", "BEGIN IMMEDIATE"


class StateFile:
    """A state file that exists already. durable: whether a commit outlives a power cut, not only `kill -9`.

    It is the file of the first use: moved away and back, it is used again; another file in its place is used only after
    a restart.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        identity: tuple[int, int] | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        """identity: device and inode of the one file to use; None: of the first use.

        log_bytes: how large the write-ahead log may be before it is begun anew; every process has to say the same.
        """
        self.path = path
        self.log_bytes = log_bytes
        self._name = str(path)
        self._synchronous = "FULL" if durable else "NORMAL"
        self._open = threading.local()
        self._identity = identity

    @classmethod
    def create(cls, path: Path) -> StateFile:
        """Create the file, or bring an older one up to date; the only place that does.

        Raises Unavailable; StateFileNewer if a newer Keybroker made it.
        """
        try:
            # SECURITY: a file that exists is not opened here but by SQLite, for to close it would drop every lock that
            # this process has on it, SQLite's too (test_making_the_file_again_drops_no_lock).
            if not path.exists():
                path.touch(mode=0o600)
            connection = sqlite3.connect(path, isolation_level=None, timeout=5)
            try:
                # Only a new file takes this: so that its free pages go back to the disk (local/sqlite/shrink.py).
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                schema.migrate(connection)
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StateUnavailable(hint=str(error)) from error
        return cls(path)

    def again(self) -> StateFile:
        """Return the same file with other connections, for which no commit waits for the disk."""
        return StateFile(self.path, durable=False, identity=self._identity, log_bytes=self.log_bytes)

    def bind(self) -> StateFile:
        """Use the file that is there now from here on, and return self; raises Unavailable."""
        with self.reading():
            return self

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction that reads one consistent view of the file; raises Unavailable."""
        return _Transaction(self, _READ, 0)

    def writing(self, wait_ms: int = 0) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction that is committed as a whole, or rolled back if anything is raised.

        Raises Unavailable; StateUncertain if it may have been committed.
        wait_ms: milliseconds that it waits for another writer, if more than WAIT_MS.
        """
        return _Transaction(self, _WRITE, wait_ms)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, as far as other connections allow; raises Unavailable."""
        self._checkpoint("PASSIVE")

    def empty_log(self) -> bool:
        """Move the write-ahead log into the file and empty it; False if anybody else writes, or reads what is in it.

        Nobody can write meanwhile, so call `checkpoint` before, which leaves little to do. Raises Unavailable.
        """
        return self._checkpoint("TRUNCATE")

    def _checkpoint(self, mode: str) -> bool:
        try:
            busy, *_ = self.connection().execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StateUnavailable(hint=str(error)) from error
        return not busy

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
        connection.execute(f"PRAGMA journal_size_limit = {self.log_bytes}")
        # After a crash the first connection repairs the log, and others wait for that here. From then on `_begin` waits.
        # It reads the schema, too, which the first transaction would else do while others wait for it.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        schema.check(connection)
        connection.execute("PRAGMA busy_timeout = 0")
        self._open.connection, self._identity = connection, identity
        return connection


class _Transaction:
    """A transaction on this thread's connection. It is a class because a generator costs the edge twice as much."""

    __slots__ = ("_begin", "_connection", "_state", "_wait_ms")
    _connection: sqlite3.Connection

    def __init__(self, state: StateFile, begin: str, wait_ms: int) -> None:
        self._state, self._begin, self._wait_ms = state, begin, wait_ms

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._state.connection()
            _begin(self._connection, self._begin, self._wait_ms)
        except (sqlite3.Error, OSError) as error:
            self._state.close()  # the next call opens a new one, so recovery needs no help
            raise StateUnavailable(hint=str(error)) from error
        return self._connection

    def __exit__(self, _kind: object, raised: BaseException | None, _where: object) -> None:
        # SECURITY: a commit that fails may be in the log all the same, and come into force when the file is opened next
        # (test_a_commit_that_fails_is_uncertain).
        refusal = StateUncertain if raised is None and self._begin != _READ else StateUnavailable
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
            raise refusal(hint=str(raised)) from raised


def _begin(connection: sqlite3.Connection, begin: str, wait_ms: int) -> None:
    """Begin a transaction, and wait for another writer WAIT_MS or longer; raises sqlite3.OperationalError."""
    # SQLite's own wait tries six times in 50 ms, with longer and longer pauses: the longest waiter comes last.
    began = time.monotonic()
    while True:
        try:
            connection.execute(begin)
        except sqlite3.OperationalError as busy:
            waited = (time.monotonic() - began) * 1000
            if busy.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or waited > max(WAIT_MS, wait_ms):
                raise
            # Who may wait for long tries less often from then on, and lets those go first who may not.
            time.sleep(random.uniform(*(_PAUSE if waited < WAIT_MS else _LONG_PAUSE)))  # noqa: S311  jitter, no secret
        else:
            return
