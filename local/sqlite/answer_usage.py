"""What answers took, in SQLite: `chalicelib.usage.AnswerUsage`."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from chalicelib.errors import StateUncertain
from chalicelib.quota import WINDOWS
from chalicelib.usage import MODELS_KEPT, OTHER, Answered, ModelUse, NotAdded, UsageQuery, window_start
from local.sqlite.state_file import PATIENT_MS, StateFile

_ADD = (
    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " answers = answers + excluded.answers, unknown = unknown + excluded.unknown,"
    " input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,"
    " cached_tokens = cached_tokens + excluded.cached_tokens"
)
_OF_DAY = "SELECT DISTINCT model FROM answers WHERE principal = ? AND grant_name = ? AND window = 'day' AND start = ?"
_BY_MODEL = (
    "SELECT model, sum(answers), sum(unknown), sum(input_tokens), sum(output_tokens), sum(cached_tokens) FROM answers"
    " WHERE principal = ? AND grant_name = ? AND window = ? AND start = ? AND (? IN ('', key)) GROUP BY model"
)


class SqliteAnswerUsage:
    """Over the state file."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def add(self, answered: Collection[Answered]) -> NotAdded:
        """See `AnswerUsage.add`. All or nothing."""
        try:
            self._add(answered)
        except StateUncertain as fault:
            return NotAdded(uncertain=len(answered), cause=fault.reason)
        return NotAdded()

    def _add(self, answered: Collection[Answered]) -> None:
        with self._state.writing(PATIENT_MS) as connection:
            for one in answered:
                use, model = one.use, _kept(connection, one)
                numbers = use.answers, use.unknown, use.input_tokens, use.output_tokens, use.cached_tokens
                connection.executemany(
                    _ADD,
                    [
                        (one.principal, one.grant, one.key, model, window, window_start(window, one.minute), *numbers)
                        for window in WINDOWS
                    ],
                )


def read(connection: sqlite3.Connection, query: UsageQuery, principal: str, grant: str) -> tuple[ModelUse, ...]:
    """Return what a principal's answers took in a window, by model."""
    asked = principal, grant, query.window, query.start, query.key
    return tuple(ModelUse(*row) for row in connection.execute(_BY_MODEL, asked))


def _kept(connection: sqlite3.Connection, one: Answered) -> str:
    # SECURITY: a provider that makes up names fills no table (test_many_models_are_one).
    known = {
        model for (model,) in connection.execute(_OF_DAY, (one.principal, one.grant, window_start("day", one.minute)))
    }
    return one.use.model if one.use.model in known or len(known) < MODELS_KEPT else OTHER
