"""Keeps the write-ahead log small, however much is written."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from local.sqlite.state_file import PATIENT_MS, StateFile

LARGE = 8
"""The log says so when the write-ahead log is this many times as large as it should be."""
_TRIES = 5


class WriteAheadLog:
    """The log of one state file.

    SQLite begins it anew only by a write at a moment when all of it is in the file and nothing reads it, and while
    calls come in there is no such moment by itself.
    """

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._pause = state.again()
        self._file = Path(f"{state.path}-wal")
        self._said = False

    def keep_small(self) -> None:
        """Have the log begun anew if it is large; raises Unavailable."""
        tries = _TRIES
        while (size := self.size()) > self._state.log_bytes and tries:
            tries -= 1
            self._state.checkpoint()  # most of it, while others write
            with self._pause.writing(PATIENT_MS):
                self._state.checkpoint()  # what came meanwhile, which is little: others wait for that
            # Either it is emptied here, or the next writer begins it anew and cuts it to `log_bytes`.
            if self._state.empty_log():
                size = 0
                break
        self._say(size)

    def size(self) -> int:
        """Return its size in bytes."""
        # Never opened: to close it would drop SQLite's locks (`StateFile.create`).
        return self._file.stat().st_size if self._file.exists() else 0

    def close(self) -> None:
        """Close this thread's connection."""
        self._pause.close()

    def _say(self, size: int) -> None:
        was, self._said = self._said, size > self._state.log_bytes * LARGE
        if self._said and not was:
            line = {"door": "upkeep", "reason": "write_ahead_log_large", "bytes": size}
            logging.getLogger("keybroker").warning(json.dumps(line))
