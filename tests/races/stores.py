"""Stores that several processes share: what each of them is handed, to open adapters of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from local.sqlite import state_file as sqlite
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.state_file import StateFile
from tests.contracts import sqlite_adapters
from tests.contracts.adapters import Adapters


@dataclass(frozen=True)
class Opened:
    """Adapters, and what each thread that has used them does at its end."""

    adapters: Adapters
    leave: Callable[[], None]


class Store(Protocol):
    """Something that exists and can be opened. It can be pickled, so that other processes can be handed it."""

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """Give adapters, of this process's own."""


@dataclass(frozen=True)
class SqliteStore:
    """A state file. durable: opened as one machine does, so that every issued token and every revocation waits for the disk.

    patience: milliseconds that a statement waits for other writers, in place of the product's few: where dozens write at
    once and counts are to be exact, nothing may be given up.
    """

    path: Path
    durable: bool = False
    patience: int = 30_000

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """See `Store.open`; every thread has a connection of its own."""
        fast, durable = StateFile(self.path, durable=False), StateFile(self.path, durable=self.durable)
        kept, sqlite.WAIT_MS = sqlite.WAIT_MS, self.patience

        def leave() -> None:
            fast.close()
            durable.close()

        try:
            yield Opened(replace(sqlite_adapters.over(durable), edge_state=SqliteEdgeState(fast)), leave)
        finally:
            leave()
            sqlite.WAIT_MS = kept
