from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from local.metrics import names
from local.metrics.exposition import Exposition
from local.metrics.shared import BOUNDS, Shared
from tests.running import ROOT

KILLED = """
import os, sys
from pathlib import Path
from local.metrics import names
from local.metrics.shared import Shared
shared = Shared(Path(sys.argv[1]), "worker-1")
shared.add(names.REQUESTS, ("/token", "done", ""), 5)
shared.set(names.UNDER_WAY, (), 3)
os.kill(os.getpid(), 9)
"""
DONE = 'keybroker_broker_requests_total{error_type="",http_route="/token",keybroker_outcome="done"}'


def value(directory: Path, name: str) -> float:
    found = [one for one in Exposition(directory).text().decode().splitlines() if one.startswith(f"{name} ")]
    [line] = found
    return float(line.rpartition(" ")[2])


def test_workers_add_up(counted: Path) -> None:
    """What several workers count is one sum, histograms and what is open now included."""
    for number in (1, 2, 3):
        shared = Shared(counted, f"worker-{number}")
        shared.add(names.REQUESTS, ("/token", "done", ""), number)
        shared.set(names.UNDER_WAY, (), number)
        shared.observe(names.SECONDS, ("openai",), [1] * len(BOUNDS), 2.5)
    assert value(counted, DONE) == 6
    assert value(counted, "http_server_active_requests") == 6
    assert value(counted, 'http_server_request_duration_seconds_count{keybroker_key="openai"}') == 3 * len(BOUNDS)
    assert value(counted, 'http_server_request_duration_seconds_sum{keybroker_key="openai"}') == 7.5


def test_a_killed_worker_s_numbers_stay(counted: Path) -> None:
    """What a worker counted before `kill -9` is there, once, and its successor goes on from it."""
    for times in (1, 2):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(counted)], cwd=ROOT, check=False)
        assert killed.returncode == -9
        assert value(counted, DONE) == 5 * times
    successor = Shared(counted, "worker-1")
    successor.add(names.REQUESTS, ("/token", "done", ""), 1)
    successor.set(names.UNDER_WAY, (), 0)
    assert value(counted, DONE) == 11
    assert value(counted, "http_server_active_requests") == 0
    assert len(list(counted.glob("*worker-1.db"))) == 2
