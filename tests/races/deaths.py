"""What is left of processes that were killed: a state file for each step of what they did, and what it holds."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.sqlite.state_file import StateFile
from tests.contracts import sqlite_adapters
from tests.contracts.adapters import Adapters
from tests.races.dying import Ended, LastAct, Nursery, OverSqlite

Counts = tuple[int, int, int]
"""What a minute's, an hour's and a day's counter hold."""


@dataclass(frozen=True)
class Death:
    """A process that was killed when it came to a step. answer: what came out of it before."""

    step: str
    path: Path
    answer: str


@dataclass(frozen=True)
class Deaths:
    """One process killed at each step of an act, in order, and one that nobody killed."""

    every: tuple[Death, ...]
    lived: Death

    def steps(self) -> list[str]:
        """Return what was come to, in order."""
        return [one.step for one in self.every]


def deaths(nursery: Nursery, act: LastAct, template: Path, directory: Path) -> Deaths:
    """Let processes do it, each over a copy of a state file of its own, and kill each at another step."""
    directory.mkdir()
    ended = _run(nursery, act, template, directory / "lived.db", None)
    lived = Death("", directory / "lived.db", ended.answer)
    killed = []
    for number, name in enumerate(ended.names):
        path = directory / f"{number}.db"
        one = _run(nursery, act, template, path, number)
        assert one.killed, f"nobody was killed at {name}"
        killed.append(Death(name, path, one.answer))
    return Deaths(tuple(killed), lived)


def _run(nursery: Nursery, act: LastAct, template: Path, path: Path, at: int | None) -> Ended:
    shutil.copy(template, path)
    return nursery.run(act, OverSqlite(path), template.parent, at)


def copy_of(path: Path, directory: Path) -> Path:
    """Copy a state file that nobody uses, with its write-ahead log."""
    directory.mkdir(exist_ok=True)
    copy = directory / f"copy-of-{path.parent.name}-{path.name}"
    for suffix in ("", "-wal"):
        log = path.with_name(path.name + suffix)
        if log.exists():
            shutil.copy(log, copy.with_name(copy.name + suffix))
    return copy


@contextmanager
def opened(path: Path) -> Iterator[Adapters]:
    """Give adapters over what is left, as a start after the crash would."""
    state = StateFile(path, durable=False)
    try:
        yield sqlite_adapters.over(state)
    finally:
        state.close()


@dataclass(frozen=True)
class Left:
    """What a state file holds. events: `kind` or `kind reason` -> how many. tokens, calls: of all principals together."""

    integrity: str
    events: Counter[str]
    jtis: tuple[str, ...]
    tokens: Counts
    calls: Counts
    refused_tokens: Counts
    refused_calls: Counts
    locks: int
    pins: int


def left_in(path: Path) -> Left:
    """Read what a state file holds."""
    with closing(sqlite3.connect(path)) as connection:
        rows = [json.loads(one) for (one,) in connection.execute("SELECT event FROM audit ORDER BY seq")]
        return Left(
            integrity=str(connection.execute("PRAGMA integrity_check").fetchone()[0]),
            events=Counter(f"{one['kind']} {one['reason']}".strip() for one in rows),
            jtis=tuple(one["jti"] for one in rows if one["kind"] == "token.issued"),
            tokens=_counts(connection, "tokens", "taken", "counters"),
            calls=_counts(connection, "calls", "taken", "counters"),
            refused_tokens=_counts(connection, "tokens", "refused", "refusals"),
            refused_calls=_counts(connection, "calls", "refused", "refusals"),
            locks=int(connection.execute("SELECT count(*) FROM locks").fetchone()[0]),
            pins=int(connection.execute("SELECT count(*) FROM pins").fetchone()[0]),
        )


def _counts(connection: sqlite3.Connection, what: str, column: str, table: str) -> Counts:
    sql = f"SELECT window, sum({column}) FROM {table} WHERE what = ? GROUP BY window"  # noqa: S608  constants
    found = dict(connection.execute(sql, (what,)).fetchall())
    return found.get("minute", 0), found.get("hour", 0), found.get("day", 0)
