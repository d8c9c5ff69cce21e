"""State files that shrink."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import Unavailable
from local.sqlite import shrink
from local.sqlite.ledger import SqliteLedger
from local.sqlite.maintenance import SWEEP_SECONDS, Upkeep
from local.sqlite.state_file import StateFile
from tests.contracts import samples
from tests.local.sqlite.conftest import NOW, Clocks

PAGE = 4096


def fill(state: StateFile, rows: int) -> None:
    """Write so many rows, each of about a page."""
    with state.writing() as connection:
        connection.executemany(
            "INSERT INTO pins (principal, unique_id, at) VALUES (?, ?, 1)", [(f"p{n}", "x" * 3000) for n in range(rows)]
        )


def empty(state: StateFile, rows: int) -> None:
    """Remove all but so many of them."""
    with state.writing() as connection:
        connection.execute("DELETE FROM pins WHERE principal NOT IN (SELECT principal FROM pins LIMIT ?)", (rows,))


def held(state: StateFile) -> list[str]:
    """Return the rows, after a check of the whole file."""
    with state.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT principal FROM pins ORDER BY principal")]


def size(state: StateFile) -> int:
    """Return the file's pages, once the write-ahead log is in it."""
    state.checkpoint()
    return state.path.stat().st_size // PAGE


@pytest.fixture
def old(tmp_path: Path) -> Iterator[StateFile]:
    """A state file as older versions made them."""
    StateFile.create(tmp_path / "old.db")
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
    made = StateFile(tmp_path / "old.db", durable=False)
    yield made
    made.close()


def test_a_file_shrinks_while_it_is_used(kept: StateFile) -> None:
    """Free pages go back to the disk a few at a time, others write in between, and what is kept stays."""
    fill(kept, 3000)
    full, steps = size(kept), 0
    empty(kept, 100)
    before = held(kept)
    with closing(sqlite3.connect(kept.path, timeout=0)) as other:
        for _ in shrink.shrink(kept):
            steps += 1
            other.execute("UPDATE pins SET at = at + 1")
            other.commit()
    assert 30 < steps < 60
    assert held(kept) == before
    assert size(kept) <= full - 2900 + shrink.SLACK + 30
    assert list(shrink.shrink(kept)) == []


def test_a_quarter_of_a_file_is_left_free(kept: StateFile) -> None:
    """What will be written again soon enough is not given back: a quarter of the file, and 4 MiB."""
    fill(kept, 3000)
    for left, due in ((3000, False), (1500, False), (1100, True)):
        empty(kept, left)
        assert shrink.is_due(kept) == due, left


@pytest.mark.slow
def test_upkeep_gives_back_what_ended(kept: StateFile, clocks: Clocks) -> None:
    """Once events are older than they are kept, the file is as small as what it holds and a quarter, and 4 MiB."""
    ledger, upkeep = SqliteLedger(kept), Upkeep(kept, clocks, keep=7 * 86400)
    upkeep.run()
    with kept.writing() as connection:
        connection.executemany(
            "INSERT INTO audit (at, kind, request_id, principal, grant_name, key, event)"
            " VALUES (?, 'keys.read', '', '', '', '', ?)",
            [(NOW, "x" * 3000)] * 4000,
        )
    ledger.record(samples.event("keys.read", at=NOW + 8 * 86400))
    full = size(kept)
    assert full > 4000
    for _ in range(8):
        clocks.go(86400)
        upkeep.run()
    clocks.go(SWEEP_SECONDS)
    upkeep.run()
    with kept.reading() as connection:
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (1,)
    assert size(kept) < shrink.SLACK + 100


def test_an_old_file_is_compacted_once(old: StateFile) -> None:
    """A file of an older version keeps its size until it is compacted, and shrinks by itself from then on."""
    fill(old, 2000)
    full = size(old)
    empty(old, 10)
    before = held(old)
    assert (shrink.shrinks(old), shrink.is_due(old), list(shrink.shrink(old, 0))) == (False, False, [])
    assert size(old) == full
    old.close()
    shrink.compact(old.path)
    assert size(old) < 60
    assert held(old) == before
    assert shrink.shrinks(old)
    fill(StateFile(old.path), 0)
    with old.writing() as connection:
        connection.execute("DELETE FROM pins")
    list(shrink.shrink(old, 0))
    assert shrink.free_pages(old) == 0
    assert old.path.stat().st_mode & 0o777 == 0o600


def test_a_file_in_use_is_not_compacted(old: StateFile) -> None:
    """A compaction is refused while any program has the file open."""
    fill(old, 10)
    with pytest.raises(Unavailable, match="state_in_use"):
        shrink.compact(old.path)
    assert len(held(old)) == 10


@pytest.mark.slow
def test_a_compaction_that_is_killed(old: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction that is killed at any time leaves everything that the file held."""
    fill(old, 1000)
    empty(old, 500)
    before = held(old)
    old.close()
    killed, steps = True, 0
    while killed:
        steps += 1
        child = os.fork()
        if not child:
            _kill_after(steps, monkeypatch)
            shrink.compact(old.path)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert held(old) == before
        old.close()
    assert steps > 3
    assert shrink.shrinks(old)


def _kill_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite kill this process after so many of its steps, some thousand instructions each."""
    real, left = sqlite3.connect, [steps]

    def step() -> int:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:  # noqa: ANN401  sqlite3's
        made: sqlite3.Connection = real(*arguments, **named)
        made.set_progress_handler(step, 300)
        return made

    monkeypatch.setattr(sqlite3, "connect", connect)
