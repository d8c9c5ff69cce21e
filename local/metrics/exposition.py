"""All numbers of one server together: what its workers have added up, and what its parent process knows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from local.metrics import names
from local.metrics.names import MOST_NAMES, Metric, in_prometheus

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST


class Reading(NamedTuple):
    """One number of the parent process's. labels: values, as `metric.labels` has their names."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


class Exposition:
    """What one server shows. own: each returns readings when it is called; a fault in one is not one of the others."""

    def __init__(self, directory: Path, own: Sequence[Callable[[], Iterable[Reading]]] = ()) -> None:
        """directory: of the workers' files."""
        self._shared = MultiProcessCollector(CollectorRegistry(), path=str(directory))
        self._own = (_build, *own)

    def collect(self) -> Iterator[Any]:
        """Yield every family with its samples, as prometheus_client has them."""
        yield from self._shared.collect()
        families: dict[Metric, Any] = {}
        for read in self._own:
            for metric, labels, value in read():
                family = families.get(metric)
                if family is None:
                    family = families[metric] = Family(metric.family, metric.says, metric.kind)
                # SECURITY: of a policy of thousands of keys the first are shown (test_the_parent_s_labels_are_bounded).
                if len(family.samples) < MOST_NAMES:
                    named = dict(zip(map(in_prometheus, metric.labels), labels, strict=True))
                    family.add_sample(metric.shown, named, float(value))
        yield from families.values()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        found: bytes = generate_latest(self)  # it asks for nothing but `collect`
        return found


def _build() -> Iterator[Reading]:
    try:
        installed = version("keybroker")
    except PackageNotFoundError:  # a directory of modules, as in the image
        installed = "unknown"
    yield Reading(names.BUILD, (installed, platform.python_version()), 1)
