"""The adapters of one machine, over a state file that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalicelib.quota import Counter
from local.sqlite import StateFile
from local.sqlite_control import SqliteControl
from local.sqlite_gate import SqliteGate
from local.sqlite_ledger import SqliteLedger
from tests.contracts.adapters import Adapters


@contextmanager
def made() -> Iterator[Adapters]:
    """Make a state file with its adapters, and remove it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        StateFile.create(path)
        state = StateFile(path, durable=False)
        try:
            yield over(state)
        finally:
            state.close()


def over(state: StateFile) -> Adapters:
    """Make the adapters of a state file that exists."""

    def counted(counter: Counter) -> tuple[int, int]:
        with state.reading() as connection:
            row = connection.execute(
                "SELECT taken, refused FROM counters WHERE what = ? AND grant_name = ? AND principal = ?"
                " AND window = ? AND start = ?",
                (counter.what, counter.grant, counter.principal, counter.window, counter.start),
            ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    return Adapters(SqliteLedger(state), SqliteGate(state), SqliteControl(state), counted)
