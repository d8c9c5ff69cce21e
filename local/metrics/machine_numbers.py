"""What is known of one machine beside its calls: its state, keys, signing keys and probes. Read now and then, not for each scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from chalicelib.errors import Unavailable
from chalicelib.federation.minter import relevant
from local.machine import Machine
from local.metrics import names, probe_numbers
from local.metrics.exposition import Reading
from local.metrics.probe_numbers import FRESH
from local.revocation_probe import WHERE
from local.sqlite import watched
from local.sqlite.mint_notes import SqliteMintNotes


class MachineNumbers:
    """Of one machine; safe in threads."""

    def __init__(
        self, machine: Machine, probe_every: int, clock: Callable[[], float] = time.time, fresh: float = FRESH
    ) -> None:
        """probe_every: seconds from one probe to the next, 0: there is none."""
        self._machine, self._probe_every = machine, probe_every
        self._state = machine.state_file()
        self._clock, self._fresh = clock, fresh
        self._lock = threading.Lock()
        self._read: tuple[float, tuple[Reading, ...]] | None = None

    def read(self) -> tuple[Reading, ...]:
        """Return what there is to show."""
        with self._lock:
            now = self._clock()
            if self._read is None or not 0 <= now - self._read[0] < self._fresh:
                self._read = now, self._look(int(now))
            return self._read[1]

    def _look(self, now: int) -> tuple[Reading, ...]:
        try:
            found = (*self._of_state(now), Reading(names.READABLE, (), 1))
        except Unavailable:
            found = (Reading(names.READABLE, (), 0),)
        return (*found, *self._of_probe())

    def _of_state(self, now: int) -> Iterator[Reading]:
        for name, (at, due) in watched.keys_set(self._state).items():
            yield Reading(names.KEY_SET, (name,), at)
            if due is not None:
                yield Reading(names.KEY_DUE, (name,), due)
        for name, ends in watched.credentials_end(self._state).items():
            yield Reading(names.KEY_EXPIRES, (name,), ends)
        yield from self._of_mints()
        for name, count in watched.first_uses(self._state, now).items():
            yield Reading(names.FIRST_USES, (name,), count)
        yield Reading(names.OVER_OWN, (), watched.over_own_weeks(self._state, now))
        listed = self._machine.control().signing_key_list()
        yield Reading(names.SIGNING, ("live",), len(listed.live))
        yield Reading(names.SIGNING, ("tainted",), len(listed.tainted))

    def _of_mints(self) -> Iterator[Reading]:
        """Tell of the keys that are federated now, since what was noted of others stays: it would be an alarm for ever."""
        notes = SqliteMintNotes(self._state).mint_notes()
        for info in self._machine.control().known_keys():
            note = relevant(notes.get(info.name), info) if info.federated is not None else None
            if note is not None:
                yield Reading(names.MINT_FAILURES, (info.name, "denied" if note.denied else "away"), note.failures)

    def _of_probe(self) -> Iterator[Reading]:
        return probe_numbers.readings(self._machine.probe_file(), WHERE, self._probe_every)
