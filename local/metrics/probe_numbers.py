"""How the last measurement of a revocation ended, as numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from chalicelib.admin.revocation_probe import RevocationProbes
from chalicelib.errors import Unavailable
from local.metrics import names
from local.metrics.exposition import Reading

FRESH: Final = 30.0
"""Seconds that what was read is shown again."""
_OUTCOMES: Final = ("held", "late", "never", "unknown")


def readings(probes: RevocationProbes, where: str, every: int) -> Iterator[Reading]:
    """Yield what there is of one place. every: seconds from one probe to the next, 0: there is none."""
    yield Reading(names.PROBE_EVERY, (), every)
    try:
        found = probes.revocation_probes()
    except Unavailable:
        return
    for probe in found:
        if probe.where != where:
            continue
        yield Reading(names.PROBED, (), probe.at)
        for outcome in _OUTCOMES:
            yield Reading(names.HELD, (outcome,), int(probe.outcome == outcome))
        if probe.seconds is not None:
            yield Reading(names.PROBE_SECONDS, (), probe.seconds)


class ProbeNumbers:
    """Of a gateway, whose results are in tables; safe in threads."""

    def __init__(
        self, probes: RevocationProbes, where: str, every: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """See `readings`."""
        self._probes, self._where, self._every, self._clock = probes, where, every, clock
        self._lock = threading.Lock()
        self._read: tuple[float, tuple[Reading, ...]] | None = None

    def read(self) -> tuple[Reading, ...]:
        """Return what there is to show."""
        with self._lock:
            now = self._clock()
            if self._read is None or now - self._read[0] >= FRESH:
                self._read = now, tuple(readings(self._probes, self._where, self._every))
            return self._read[1]
