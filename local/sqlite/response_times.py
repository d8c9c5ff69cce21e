"""How long answers took, in SQLite: `chalicelib.edge.response_times.ResponseTimes`."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Final

from chalicelib.edge.response_times import BOUNDS, SHOWN_SECONDS, Responses
from chalicelib.usage import window_start
from local.sqlite.state_file import PATIENT_MS, StateFile

_ADD: Final = (
    "INSERT INTO response_times (window, start, bucket, answers) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET answers = answers + excluded.answers"
)
_FIND: Final = (
    "SELECT start, bucket, answers FROM response_times WHERE window = ? AND start BETWEEN ? AND ? ORDER BY start"
)
_FAILED: Final = -1
"""Stands for a bucket's number in the rows that count what failed."""


class SqliteResponseTimes:
    """Over the state file: a row for each bucket of a window that has any."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def add(self, noted: Collection[Responses]) -> None:
        """See `ResponseTimes.add`. All or nothing."""
        rows = [
            (one.window, one.start, bucket, count)
            for one in noted
            for bucket, count in enumerate((one.failed, *one.buckets), start=_FAILED)
            if count
        ]
        with self._state.writing(PATIENT_MS) as connection:
            connection.executemany(_ADD, rows)

    def responses(self, now: int) -> tuple[Responses, ...]:
        """See `ResponseTimes.responses`."""
        found: list[Responses] = []
        for window, seconds in SHOWN_SECONDS.items():
            with self._state.reading() as connection:
                rows = connection.execute(_FIND, (window, window_start(window, now - seconds), now)).fetchall()
            for start, group in itertools.groupby(rows, key=lambda row: row[0]):
                counts = {bucket: answers for _, bucket, answers in group}
                failed, *buckets = (counts.get(bucket, 0) for bucket in range(_FAILED, len(BOUNDS) + 1))
                found.append(Responses(window, start, failed, tuple(buckets)))
        return tuple(found)
