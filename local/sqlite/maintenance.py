"""Keeps the state file small: checkpoints, and the removal of expired rows. Nothing relies on it."""

from __future__ import annotations

import json
import logging

from chalicelib.errors import Unavailable
from chalicelib.quota import COUNTERS_KEPT, WINDOWS
from chalicelib.revocation import TOKEN_REVOCATION_KEPT
from local.sqlite.state_file import StateFile

CHECKPOINT_SECONDS = 2
SWEEP_SECONDS = 60


class Upkeep:
    """Is called often and acts at intervals. A state file that is missing is left alone until it is back."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._next_checkpoint = self._next_sweep = 0

    def run(self, now: int) -> None:
        """Do what is due at `now` (epoch seconds)."""
        try:
            if now >= self._next_checkpoint:
                self._next_checkpoint = now + CHECKPOINT_SECONDS
                self._state.checkpoint()
            if now >= self._next_sweep:
                self._next_sweep = now + SWEEP_SECONDS
                self._sweep(now)
        except Unavailable as unavailable:
            logging.getLogger("keybroker").warning(json.dumps({"door": "upkeep", "reason": unavailable.reason}))

    def _sweep(self, now: int) -> None:
        with self._state.writing() as connection:
            connection.execute("DELETE FROM locks WHERE expires < ?", (now,))
            for window, length in WINDOWS.items():
                ended = (window, now - length - COUNTERS_KEPT)
                connection.execute("DELETE FROM counters WHERE window = ? AND start < ?", ended)
                connection.execute("DELETE FROM refusals WHERE window = ? AND start < ?", ended)
            old = now - TOKEN_REVOCATION_KEPT
            connection.execute(
                "DELETE FROM things WHERE scope = 'token'"
                " AND id IN (SELECT target FROM revocations WHERE scope = 'token' AND at < ?)",
                (old,),
            )
            connection.execute("DELETE FROM revocations WHERE scope = 'token' AND at < ?", (old,))
