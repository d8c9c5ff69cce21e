"""The calls that the edge refused of late, in SQLite: `chalicelib.edge.refused_calls.RefusedCalls`."""

from __future__ import annotations

import json
from collections.abc import Collection

from chalicelib.edge.refused_calls import KEPT_SECONDS, MOST, MOST_OF_ONE, RefusedCall
from local.sqlite.state_file import PATIENT_MS, StateFile

_KEEP = "INSERT OR IGNORE INTO refused_calls (at, request_id, principal, refused) VALUES (?, ?, ?, ?)"
_FIND = "SELECT refused FROM refused_calls WHERE request_id = ? AND at > ?"
_TOO_MANY = "DELETE FROM refused_calls WHERE seq <= (SELECT max(seq) FROM refused_calls) - ?"
_TOO_MANY_OF_ONE = (
    "DELETE FROM refused_calls WHERE principal = :principal AND seq <="
    " (SELECT seq FROM refused_calls WHERE principal = :principal ORDER BY seq DESC LIMIT 1 OFFSET :kept)"
)


class SqliteRefusedCalls:
    """Over the state file."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def keep(self, refused: Collection[RefusedCall]) -> None:
        """See `RefusedCalls.keep`. All or nothing."""
        rows = [(one.at, one.request_id, one.principal, json.dumps(one.to_json())) for one in refused]
        with self._state.writing(PATIENT_MS) as connection:
            connection.executemany(_KEEP, rows)
            # SECURITY: who floods the edge pushes out refusals of its own, and not those of others
            # (test_a_flood_hides_no_other).
            for principal in {one.principal for one in refused}:
                connection.execute(_TOO_MANY_OF_ONE, {"principal": principal, "kept": MOST_OF_ONE})
            connection.execute(_TOO_MANY, (MOST,))

    def refused_call(self, request_id: str, now: int) -> RefusedCall | None:
        """See `RefusedCalls.refused_call`."""
        with self._state.reading() as connection:
            row = connection.execute(_FIND, (request_id, now - KEPT_SECONDS)).fetchone()
        return RefusedCall(**json.loads(row[0])) if row else None
