"""The adapters of one machine, over a state file that is thrown away."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalicelib.quota import Counter
from local.sqlite.answer_usage import SqliteAnswerUsage
from local.sqlite.budgets import SqliteBudgets
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.ledger import SqliteLedger
from local.sqlite.mint_notes import SqliteMintNotes
from local.sqlite.refused_calls import SqliteRefusedCalls
from local.sqlite.response_times import SqliteResponseTimes
from local.sqlite.running_state import SqliteRunningState
from local.sqlite.state_file import StateFile
from local.sqlite.usage import SqliteUsage
from tests.contracts.adapters import Adapters

_IN_MEMORY = Path("/dev/shm")  # a directory of the test's own is made in it
"""Where Linux keeps files in memory. A rule is the same there, and no commit waits for a disk that tests share."""


@contextmanager
def made() -> Iterator[Adapters]:
    """Make a state file with its adapters, and remove it."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as directory:
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
        row_key = (counter.what, counter.grant, counter.principal, counter.window, counter.start)
        where = "what = ? AND grant_name = ? AND principal = ? AND window = ? AND start = ?"
        with state.reading() as connection:
            taken = connection.execute(f"SELECT sum(taken) FROM counters WHERE {where}", row_key).fetchone()  # noqa: S608  a constant
            refused = connection.execute(f"SELECT sum(refused) FROM refusals WHERE {where}", row_key).fetchone()  # noqa: S608  a constant
        return int(taken[0] or 0), int(refused[0] or 0)

    def again() -> Adapters:
        state.close()
        return over(state)

    @contextmanager
    def cut(after: int) -> Iterator[None]:
        left = itertools.count(after * 40, -1)  # a step is 40 instructions of SQLite's machine: a part of a statement
        with state.reading() as connection:
            pass
        connection.set_progress_handler(lambda: int(next(left) < 0), 1)
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed when it was cut off
                connection.set_progress_handler(None, 0)

    ledger, edge_state, control = SqliteLedger(state), SqliteEdgeState(state), SqliteControl(state)
    running_state, usage, answers = SqliteRunningState(state), SqliteUsage(state), SqliteAnswerUsage(state)
    budgets, seen = (
        SqliteBudgets(state),
        (SqliteRefusedCalls(state), SqliteResponseTimes(state), SqliteMintNotes(state)),
    )
    return Adapters(ledger, edge_state, running_state, control, usage, budgets, answers, *seen, counted, again, cut)
