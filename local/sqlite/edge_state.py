"""The edge's state in SQLite: `chalicelib.edge.state.EdgeState`."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.edge.state import Snapshot
from chalicelib.quota import Counter
from chalicelib.revocation import RevocationTarget
from local.sqlite import counters as sqlite_counters
from local.sqlite import targets as sqlite_things
from local.sqlite.state_file import StateFile


class SqliteEdgeState:
    """One wave is one transaction here: the reads and the counting see the same moment."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def read_and_count(
        self,
        targets: Mapping[str, RevocationTarget],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Snapshot:
        """See `EdgeState.read_and_count`."""
        with self._state.writing() as connection:
            found = sqlite_things.read(connection, targets.values())
            numbers = sqlite_counters.add_one(connection, counters)
            of_all = sqlite_counters.add_one(connection, total) if total else {}
            if again:
                sqlite_counters.take_off_refused(connection, counters + total, again)
        return Snapshot({scope: found[target] for scope, target in targets.items()}, numbers, of_all)

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `EdgeState.count`."""
        with self._state.writing() as connection:
            return sqlite_counters.add_one(connection, counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> None:
        """See `EdgeState.give_back`."""
        with self._state.writing() as connection:
            sqlite_counters.take_off(connection, counters)
            sqlite_counters.add_refused(connection, counters, reason)

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `EdgeState.taken`."""
        with self._state.reading() as connection:
            return sqlite_counters.taken(connection, counters)
