"""The clock that rows are removed by: it follows the wall clock, but never leaps as one that is set does."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from local.sqlite.state_file import StateFile

APART = 120
"""Seconds between the two from which on the log says so."""
ASLEEP = 12 * 3600
"""Seconds that a machine may have been off, as far as that is believed; what is removed is older than it need be by more."""


class Reading(NamedTuple):
    """Both of a machine's clocks at one moment."""

    wall: int
    """Seconds since 1970."""
    ticks: float
    """Seconds since some moment of this boot; they go on while the machine sleeps."""
    boot: str
    """Which boot that is: ticks of two boots cannot be compared."""


def reader() -> Callable[[], Reading]:
    """Return what reads this machine's clocks."""
    file = Path("/proc/sys/kernel/random/boot_id")
    # Elsewhere than on Linux each process is a boot of its own.
    boot = file.read_text().strip() if file.exists() else secrets.token_hex(8)
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return lambda: Reading(int(time.time()), time.clock_gettime(clock), boot)


def follow(steady: int, before: Reading, now: Reading) -> int:
    """Return what a steady clock shows now that showed `steady` before.

    It moves as the ticks do, and towards the wall clock by at most as much again: a wall clock that is wrong for two seconds
    moves it by two.
    """
    passed = max(0, int(now.ticks - before.ticks)) if now.boot == before.boot else 0
    most = passed if now.boot == before.boot else ASLEEP
    apart = now.wall - (steady + passed)
    return steady + passed + max(-passed, min(apart, most))


class SteadyClock:
    """A steady clock that is kept in the state file, so that no restart sets it."""

    def __init__(self, state: StateFile, read: Callable[[], Reading]) -> None:
        self._state = state
        self._read = read
        self._apart = False

    def now(self) -> int:
        """Move the clock on; return its time, or the wall clock's if that is behind. Raises Unavailable.

        SECURITY: whatever is removed is removed by this time: a wall clock that is wrong for a moment would make the state
        forget revocations and used identity tokens (test_a_leap_of_the_clock_forgets_nothing).
        """
        reading = self._read()
        with self._state.writing() as connection:
            steady = _moved(connection, reading)
            connection.execute(
                "INSERT INTO clock (id, time, boot, ticks) VALUES (1, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET time = excluded.time, boot = excluded.boot, ticks = excluded.ticks",
                (steady, reading.boot, reading.ticks),
            )
        self._say(reading.wall - steady)
        return min(steady, reading.wall)

    def _say(self, apart: int) -> None:
        was, self._apart = self._apart, abs(apart) > APART
        if self._apart and not was:
            line = {"door": "upkeep", "reason": "clock_leapt", "seconds": apart}
            logging.getLogger("keybroker").warning(json.dumps(line))


def _moved(connection: sqlite3.Connection, reading: Reading) -> int:
    row = connection.execute("SELECT time, boot, ticks FROM clock").fetchone()
    if row is None:
        return reading.wall
    steady, boot, ticks = row
    return follow(steady, Reading(0, ticks, boot), reading)
