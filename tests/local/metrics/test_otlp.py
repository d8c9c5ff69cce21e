from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from local.metrics import names, otlp
from local.metrics.exposition import Exposition, Reading
from local.metrics.shared import BOUNDS, Shared


@contextmanager
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A receiver of OTLP over HTTP, and what it was sent."""
    bodies: list[bytes] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/metrics" and self.headers["Content-Type"] == "application/x-protobuf":
                bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv(otlp.VARIABLE, f"http://127.0.0.1:{server.server_port}")
        yield bodies
        server.shutdown()


def metrics(body: bytes) -> dict[str, Any]:
    [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    told = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert told["service.name"] == "keybroker"
    return {one.name: one for one in resource.scope_metrics[0].metrics}


def attributes(point: Any) -> dict[str, str]:  # noqa: ANN401  protobuf's
    return {one.key: one.value.string_value for one in point.attributes}


def test_numbers_are_received(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real receiver gets every number under OpenTelemetry's names: sums cumulative, histograms by bucket."""
    shared = Shared(counted, "worker-1")
    shared.add(names.CALLS, ("openai", "2xx", ""), 7)
    shared.observe(names.SECONDS, ("openai",), [2, 1, *[0] * (len(BOUNDS) - 3), 4], 99.5)
    own = [Reading(names.CERTIFICATE, (), 1_800_000_000)]
    with (
        receiver(monkeypatch) as bodies,
        otlp.sending(Exposition(counted, [lambda: own]).collect, {otlp.INTERVAL: "3600000"}),
    ):
        pass
    found = metrics(bodies[-1])
    calls = found["keybroker.calls"]
    assert (calls.unit, calls.sum.is_monotonic, calls.sum.aggregation_temporality) == ("{call}", True, 2)
    [point] = calls.sum.data_points
    assert point.as_double == 7
    assert attributes(point) == {"keybroker.key": "openai", "keybroker.status_class": "2xx", "error.type": ""}
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    [point] = found["http.server.request.duration"].histogram.data_points
    assert (point.count, point.sum, len(point.explicit_bounds)) == (7, 99.5, len(BOUNDS) - 1)
    assert list(point.bucket_counts) == [2, 1, *[0] * (len(BOUNDS) - 3), 4]
    assert found["keybroker.certificate.expiry_timestamp"].gauge.data_points[0].as_double == 1_800_000_000


def test_a_receiver_out_of_reach(
    counted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a minute says so, with neither address nor header; what comes next has all of it."""
    monkeypatch.setenv(otlp.VARIABLE, "http://user:sk-canary@127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=sk-canary")

    class Away:
        calls = 0

        def export(self, _data: object) -> object:
            self.calls += 1
            raise ConnectionError("sk-canary")

    away = Away()
    sending = otlp._Sending(Exposition(counted).collect, away, 60.0)
    for _ in range(100):
        sending.send(1)
    assert away.calls == 100
    [line] = [one.getMessage() for one in caplog.records if one.name == "keybroker"]
    assert "(ConnectionError)" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 60.0), ("5000", 5.0), ("x", 60.0), ("0", 0.1), ("99999999", 3600.0), ("-1", 60.0)]
)
def test_how_often(text: str, seconds: float) -> None:
    """OTEL_METRIC_EXPORT_INTERVAL is in milliseconds, bounded; what is no number is passed over."""
    assert otlp._interval({otlp.INTERVAL: text}) == seconds


def test_without_the_extra(counted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where OpenTelemetry is not installed the server serves, and says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with otlp.sending(Exposition(counted).collect, {}):
        pass
    assert "install keybroker[server,otlp]" in caplog.text


def test_only_where_it_is_asked_for() -> None:
    """Nothing is sent unless the variable says where to."""
    assert not otlp.is_wanted({})
    assert not otlp.is_wanted({otlp.VARIABLE: ""})
    assert otlp.is_wanted({otlp.VARIABLE: "http://collector:4318"})
