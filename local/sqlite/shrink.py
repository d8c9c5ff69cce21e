"""Gives a state file's free pages back to the disk: a few at a time while it is used, or all at once while it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from local.errors import StateInUse
from local.sqlite.state_file import StateFile

PAGES = 50
"""Pages that are moved in one transaction: other writers wait for that long, which is about a millisecond."""
SLACK = 1024
"""Free pages that stay, 4 MiB: what comes next is written there."""
_INCREMENTAL = 2


def shrink(state: StateFile, slack: int = SLACK, wait_ms: int = 0) -> Iterator[None]:
    """Give back all free pages but `slack`, and stop after each transaction; raises Unavailable.

    A file that an older Keybroker made keeps its size, until it was compacted. wait_ms: as of `StateFile.writing`.
    """
    while (free := free_pages(state)) > slack:
        with state.writing(wait_ms) as connection:
            for _ in range(min(PAGES, free - slack)):
                connection.execute("PRAGMA incremental_vacuum(1)")  # Python takes one step of it, whatever the number
        yield


def is_due(state: StateFile) -> bool:
    """Whether a quarter of the file is free: less than that will be written again soon enough. Raises Unavailable."""
    with state.reading() as connection:
        pages = _number(connection, "page_count")
        return _shrinks(connection) and _number(connection, "freelist_count") > SLACK + pages // 4


def free_pages(state: StateFile) -> int:
    """Return how many pages can be given back while the file is used; raises Unavailable."""
    with state.reading() as connection:
        return _number(connection, "freelist_count") if _shrinks(connection) else 0


def shrinks(state: StateFile) -> bool:
    """Whether the file shrinks while it is used; one that an older Keybroker made does not. Raises Unavailable."""
    with state.reading() as connection:
        return _shrinks(connection)


def compact(path: Path) -> None:
    """Write a file anew, without free pages, and have it shrink by itself from then on; killed, it is as it was.

    Raises StateInUse while any program has it open; sqlite3.Error for a full disk, or a file that is damaged.
    """
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=1)
    ) as one:
        try:
            one.execute("PRAGMA journal_mode = DELETE")  # this needs the file alone
            one.execute("PRAGMA auto_vacuum = INCREMENTAL")
            one.execute("VACUUM")
            one.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            raise StateInUse(hint=f"a program uses {path}: stop it") from error


def _shrinks(connection: sqlite3.Connection) -> bool:
    return _number(connection, "auto_vacuum") == _INCREMENTAL


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
