"""What has become of the calls under way, in SQLite: `chalicelib.edge.running.RunningState`."""

from __future__ import annotations

from collections.abc import Collection

from chalicelib.edge.running import Seen
from chalicelib.revocation import EVERYTHING, RevocationTarget
from local.sqlite import target_rows
from local.sqlite.state_file import StateFile

_AT_ONCE = 400
"""Targets of one statement: SQLite may have been built to take 999 values."""


class SqliteRunningState:
    """A round trip is one transaction here, however many statements it takes."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def see(self, targets: Collection[RevocationTarget]) -> Seen:
        """See `RunningState.see`."""
        wanted, rows = list(targets), dict[RevocationTarget, target_rows.Row]()
        with self._state.reading() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                rows |= target_rows.read(connection, wanted[first : first + _AT_ONCE])
        everything = rows.get(EVERYTHING, target_rows.ABSENT)
        grants = {target.id: row.grant() for target, row in rows.items() if target.scope == "grant"}
        return Seen(
            {target: row.state for target, row in rows.items()},
            everything.signing_keys(),
            {name: grant for name, grant in grants.items() if grant},
        )
