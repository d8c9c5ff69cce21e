"""The files in which the workers of one server add up, in the format of prometheus_client's multi-process mode.

Each worker has files of its own, by its number: one that takes the place of a worker that was killed goes on from where that
one was, so that nothing is lost or counted twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client.utils import floatToGoString
from prometheus_client.values import MultiProcessValue

from local.metrics.names import BUCKETS, MOST_NAMES, OTHER, Metric, in_prometheus

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client is told where the files are."""
BOUNDS: Final = (*map(floatToGoString, BUCKETS), "+Inf")


class Shared:
    """What one process adds up; safe in threads."""

    def __init__(self, directory: Path, process: str) -> None:
        """process: names its files; no two processes that run at once may have the same."""
        os.environ[DIRECTORY] = str(directory)
        self._make: Callable[..., Any] = MultiProcessValue(process_identifier=lambda: process)
        self._values: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._names: dict[tuple[str, str], set[str]] = {}

    def add(self, metric: Metric, labels: Sequence[str], amount: float) -> None:
        """Add to a counter."""
        self._value(metric, metric.shown, metric.labels, self._bounded(metric, labels)).inc(amount)

    def set(self, metric: Metric, labels: Sequence[str], amount: float) -> None:
        """Say how much there is of what this process has, which is summed over all processes."""
        self._value(metric, metric.shown, metric.labels, self._bounded(metric, labels)).set(amount)

    def observe(self, metric: Metric, labels: Sequence[str], counts: Sequence[int], total: float) -> None:
        """Add observations of a histogram. counts: by bucket, not cumulated, as many as BOUNDS. total: their sum."""
        bounded = self._bounded(metric, labels)
        for bound, count in zip(BOUNDS, counts, strict=True):
            name = f"{metric.family}_bucket"
            bucket = self._value(metric, name, (*metric.labels, "le"), (*bounded, bound))  # empty ones are shown, too
            if count:
                bucket.inc(count)
        self._value(metric, f"{metric.family}_sum", metric.labels, bounded).inc(total)

    def _value(self, metric: Metric, name: str, labels: Sequence[str], values: tuple[str, ...]) -> Any:  # noqa: ANN401  prometheus_client has no type for it
        found = self._values.get((name, values))
        if found is None:
            named = tuple(map(in_prometheus, labels))
            told = metric.kind, metric.family, name, named, values, metric.says
            # Of two threads that make the same one, both read and write the same place of the file.
            found = self._values.setdefault((name, values), self._make(*told, multiprocess_mode="sum"))
        return found

    def _bounded(self, metric: Metric, labels: Sequence[str]) -> tuple[str, ...]:
        # SECURITY: no label grows with what callers send, whatever names there are (test_labels_are_bounded).
        return tuple(
            bounded(value, self._names.setdefault((metric.name, name), set()))
            for name, value in zip(metric.labels, labels, strict=True)
        )


def bounded(value: str, known: set[str]) -> str:
    """Return a label's value, or OTHER if it is not plain, or one too many. known: those that there are, which it may join."""
    if value in known or value == OTHER:
        return value
    if len(known) >= MOST_NAMES or len(value) > 100 or not (value.isascii() and (value.isprintable() or not value)):
        return OTHER
    known.add(value)
    return value
