"""The edge's state in SQLite: `chalicelib.edge.state.Gate`."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.edge.state import Wave
from chalicelib.quota import Counter
from chalicelib.revocation import Thing
from local.sqlite import counters as sqlite_counters
from local.sqlite import targets as sqlite_things
from local.sqlite.state_file import StateFile


class SqliteGate:
    """One wave is one transaction here: the reads and the counting see the same moment."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def wave(
        self,
        things: Mapping[str, Thing],
        counters: tuple[Counter, ...],
        total: tuple[Counter, ...] = (),
        again: str = "",
    ) -> Wave:
        """See `Gate.wave`."""
        with self._state.writing() as connection:
            found = sqlite_things.read(connection, things.values())
            numbers = sqlite_counters.add_one(connection, counters)
            of_all = sqlite_counters.add_one(connection, total) if total else {}
            if again:
                sqlite_counters.take_off_refused(connection, counters + total, again)
        return Wave({scope: found[thing] for scope, thing in things.items()}, numbers, of_all)

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `Gate.count`."""
        with self._state.writing() as connection:
            return sqlite_counters.add_one(connection, counters)

    def give_back(self, counters: tuple[Counter, ...], reason: str) -> None:
        """See `Gate.give_back`."""
        with self._state.writing() as connection:
            sqlite_counters.take_off(connection, counters)
            sqlite_counters.add_refused(connection, counters, reason)

    def taken(self, counters: tuple[Counter, ...]) -> Mapping[Counter, int]:
        """See `Gate.taken`."""
        with self._state.reading() as connection:
            return sqlite_counters.taken(connection, counters)
