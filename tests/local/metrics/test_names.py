from __future__ import annotations

import re
from pathlib import Path

from local.metrics import names
from local.metrics.names import TABLE, Metric

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_has_the_same_table() -> None:
    """docs/operate.md says of every metric what local/metrics/names.py says, in its order."""
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| `([a-z0-9_]+)` \| (\w+) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert [(*row[:3], re.findall(r"`([^`]+)`", row[3]), row[4]) for row in rows] == [
        (one.name, one.shown, one.kind, list(one.labels), one.says) for one in TABLE
    ]


def test_every_metric_is_in_the_table() -> None:
    """No metric is defined beside the table, and no two share a name in Prometheus."""
    assert set(TABLE) == {one for one in vars(names).values() if isinstance(one, Metric)}
    assert len({one.family for one in TABLE}) == len(TABLE)


def test_prometheus_names() -> None:
    """Dots become underscores, the unit and a counter's `_total` are behind the name."""
    assert names.CALLS.shown == "keybroker_calls_total"
    assert names.IO.shown == "keybroker_io_bytes_total"
    assert names.SECONDS.shown == "http_server_request_duration_seconds"
