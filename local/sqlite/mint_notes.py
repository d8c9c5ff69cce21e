"""Why no credential could be minted, in SQLite: `chalicelib.federation.notes.MintNotes`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from chalicelib.federation.notes import MintNote
from local.sqlite.state_file import StateFile


class SqliteMintNotes:
    """Over the state file: a row for each key whose last attempt failed."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def mint_notes(self) -> Mapping[str, MintNote]:
        """See `MintNotes.mint_notes`."""
        with self._state.reading() as connection:
            rows = connection.execute("SELECT key, note FROM mint_notes ORDER BY key").fetchall()
        return {key: MintNote(**json.loads(note)) for key, note in rows}

    def note_mint(self, key: str, note: MintNote | None) -> None:
        """See `MintNotes.note_mint`."""
        with self._state.writing() as connection:
            connection.execute("DELETE FROM mint_notes WHERE key = ?", (key,))
            if note is not None:
                connection.execute(
                    "INSERT INTO mint_notes (key, note) VALUES (?, ?)", (key, json.dumps(note.to_json()))
                )

    def end_pause(self, note: MintNote, now: int) -> None:
        """See `MintNotes.end_pause`."""
        before, after = (json.dumps(one.to_json()) for one in (note, note._replace(next_try=now)))
        with self._state.writing() as connection:
            connection.execute("UPDATE mint_notes SET note = ? WHERE key = ? AND note = ?", (after, note.key, before))
