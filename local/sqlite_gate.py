"""The edge's state in SQLite: `chalicelib.admission.Gate`."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.admission import Wave
from chalicelib.quota import Counter
from chalicelib.revocation import Thing
from local import sqlite_things
from local.sqlite import StateFile
from local.sqlite_ledger import add_one


class SqliteGate:
    """One wave is one transaction here: the reads and the counting see the same moment."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def wave(self, things: Mapping[str, Thing], counters: tuple[Counter, ...]) -> Wave:
        """See `Gate.wave`."""
        with self._state.writing() as connection:
            found = sqlite_things.read(connection, things.values())
            numbers = {counter.window: add_one(connection, counter) for counter in counters}
        return Wave({scope: found[thing] for scope, thing in things.items()}, numbers)

    def count(self, counters: tuple[Counter, ...]) -> Mapping[str, int]:
        """See `Gate.count`."""
        with self._state.writing() as connection:
            return {counter.window: add_one(connection, counter) for counter in counters}

    def give_back(self, counters: tuple[Counter, ...]) -> None:
        """See `Gate.give_back`."""
        with self._state.writing() as connection:
            for counter in counters:
                connection.execute(
                    "UPDATE counters SET taken = taken - 1, refused = refused + 1 WHERE principal = ?"
                    " AND grant_name = ? AND what = ? AND window = ? AND start = ? AND taken > 0",
                    (counter.principal, counter.grant, counter.what, counter.window, counter.start),
                )
