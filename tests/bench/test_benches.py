"""Every benchmark that needs no AWS emulator: its set-up works, and it yields its tables, at the smallest sizes."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from tests.bench import bench_answer_reading, bench_data_path

SMALLEST: dict[str, dict[str, Any]] = {
    "admission": {"PROCESSES": (1,), "ROUNDS": 1, "TIMES": 5, "TOKENS": 1},
    "answer_reading": {
        "ROUNDS": 1,
        "CASES": {name: (8, make, coding) for name, (_, make, coding) in bench_answer_reading.CASES.items()},
    },
    "client": {"ROUNDS": 1, "CALLS": 5},
    "data_path": {
        "ROUNDS": 1,
        "CASES": tuple(replace(one, calls=one.connections) for one in bench_data_path.CASES),
    },
    "exchange": {"ROUNDS": 1, "EACH": 1},
    "flood": {"ROUNDS": 1, "CALLS": 2, "FLOODERS": 1},
    "gateway": {"ROUNDS": 1, "SECONDS": 0.1},
    "import": {"ROUNDS": 1},
    "policy": {"ROUNDS": 1, "SIZES": (10,)},
    "usage_reading": {"ROUNDS": 1, "EACH": 1},
    "workers": {"ROUNDS": 1, "SECONDS": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_still_runs(name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Its set-up follows what it measures."""
    bench = importlib.import_module(f"tests.bench.bench_{name}")
    for what, size in SMALLEST[name].items():
        monkeypatch.setattr(bench, what, size)
    tables = list(bench.tables())
    skipped = "SKIPPED" in capfd.readouterr().err
    assert all(table.rows for table in tables)
    assert tables or skipped
