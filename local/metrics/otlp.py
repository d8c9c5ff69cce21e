"""The numbers over OTLP/HTTP, where OTEL_EXPORTER_OTLP_ENDPOINT says where to. Sums are cumulative, so that nothing waits in a queue.

A receiver that is out of reach costs calls nothing: the next sending has all that was counted meanwhile. OpenTelemetry's
other variables (headers, certificates, compression, time-out) hold as its exporter has them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from local.metrics.names import TABLE, Metric, in_prometheus

VARIABLE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
"""Milliseconds from one sending to the next; 60,000 without it."""
SAY_SECONDS: Final = 60.0
"""Between two log lines of a receiver that is out of reach."""
_LONGEST: Final = 3600_000
_END_SECONDS: Final = 3.0
_FAMILIES: Final = {metric.family: metric for metric in TABLE}
_LABELS: Final = {in_prometheus(label): label for metric in TABLE for label in metric.labels}
_LOG: Final = logging.getLogger("keybroker")
Collect = Callable[[], Iterable[Any]]
"""Yields families as prometheus_client has them."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment says where to."""
    return bool(environment.get(VARIABLE))


@contextlib.contextmanager
def sending(collect: Collect, environment: Mapping[str, str]) -> Iterator[None]:
    """Send now and then meanwhile, and once more at the end."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  an extra
    except ImportError:
        _LOG.warning("%s is set, but no numbers are sent: install keybroker[server,otlp]", VARIABLE)
        yield
        return
    # Its lines come with each attempt, and may quote what was answered.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter, stop = OTLPMetricExporter(), threading.Event()
    one = _Sending(collect, exporter, _interval(environment))
    thread = threading.Thread(target=one.act, args=(stop,), name="otlp", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_SECONDS)
        exporter.shutdown()


def _interval(environment: Mapping[str, str]) -> float:
    text = environment.get(INTERVAL, "")
    milliseconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 60_000
    return min(max(milliseconds, 100), _LONGEST) / 1000


class _Sending:
    """What a thread does again and again."""

    def __init__(self, collect: Collect, exporter: Any, every: float) -> None:  # noqa: ANN401  of a library that may be missing
        self._collect, self._exporter, self._every = collect, exporter, every
        self._say_next = -math.inf

    def act(self, stop: threading.Event) -> None:
        """Send until told to stop, and once more."""
        began = time.time_ns()
        while not stop.wait(self._every):
            self.send(began)
        self.send(began)

    def send(self, began: int) -> None:
        """Send once. began: when this server did, nanoseconds."""
        try:
            why = self._exporter.export(data(self._collect(), began, time.time_ns())).name
        except Exception as fault:  # noqa: BLE001  calls go on whatever becomes of their numbers; its text may hold anything
            why = type(fault).__name__
        if why != "SUCCESS" and time.monotonic() >= self._say_next:
            self._say_next = time.monotonic() + SAY_SECONDS
            _LOG.warning(
                "the numbers were not received where %s says (%s); what comes next has them, too", VARIABLE, why
            )


def data(families: Iterable[Any], began: int, now: int) -> Any:  # noqa: ANN401  OpenTelemetry's MetricsData
    """Return families of prometheus_client as OpenTelemetry's data. began, now: nanoseconds since the epoch."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics  # noqa: PLC0415  an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  an extra
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415  an extra

    found = [(_FAMILIES[family.name], family.samples) for family in families if family.name in _FAMILIES]
    shown = [_metric(metric, samples, began, now) for metric, samples in found if samples]
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say more, or something else.
    resource = Resource({"service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}).merge(Resource.create())
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "keybroker"}))
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope("keybroker"), shown, "")], "")])


def _metric(metric: Metric, samples: Iterable[Any], began: int, now: int) -> Any:  # noqa: ANN401  as above
    from opentelemetry.sdk.metrics import export as sdk  # noqa: PLC0415  an extra

    cumulative = sdk.AggregationTemporality.CUMULATIVE
    if metric.kind == "histogram":
        points: Any = [_histogram(sdk, *one, began, now) for one in _histograms(metric, samples)]
        return sdk.Metric(metric.name, metric.says, metric.unit, sdk.Histogram(points, cumulative))
    points = [sdk.NumberDataPoint(_attributes(one.labels), began, now, one.value) for one in samples]
    if metric.kind == "gauge":
        return sdk.Metric(metric.name, metric.says, metric.unit, sdk.Gauge(points))
    return sdk.Metric(metric.name, metric.says, metric.unit, sdk.Sum(points, cumulative, is_monotonic=True))


def _histograms(metric: Metric, samples: Iterable[Any]) -> Iterator[tuple[dict[str, str], dict[float, float], float]]:
    """Yield labels, cumulated counts by upper bound, and sum."""
    bounds: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for one in samples:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        if one.name == f"{metric.family}_bucket":
            bounds.setdefault(labels, {})[float(one.labels["le"])] = one.value
        elif one.name == f"{metric.family}_sum":
            sums[labels] = one.value
    for labels, counts in bounds.items():
        yield dict(labels), dict(sorted(counts.items())), sums.get(labels, 0.0)


def _histogram(  # noqa: PLR0913, PLR0917  one point
    sdk: Any,  # noqa: ANN401  a module that may be missing
    labels: dict[str, str],
    cumulated: dict[float, float],
    total: float,
    began: int,
    now: int,
) -> Any:  # noqa: ANN401  as above
    counts = [int(count) for count in cumulated.values()]
    single = [count - before for before, count in zip([0, *counts], counts, strict=False)]
    limits = [bound for bound in cumulated if not math.isinf(bound)]
    unknown: Any = None  # neither the least nor the most of them is known
    return sdk.HistogramDataPoint(_attributes(labels), began, now, counts[-1], total, single, limits, unknown, unknown)


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    return {_LABELS[name]: value for name, value in labels.items()}
