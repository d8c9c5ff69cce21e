"""Signals as exceptions, tested in a separate interpreter since handlers belong to the whole process."""

from __future__ import annotations

import subprocess
import sys

from tests.running import ROOT

STOPS = """
import os, signal
from local.demo import signals

signals.raise_on_signals()
signals.stop_repeating()
for number in (signal.SIGINT, signal.SIGTERM):
    try:
        os.kill(os.getpid(), number)
    except (KeyboardInterrupt, SystemExit) as raised:
        print(type(raised).__name__, signal.getitimer(signal.ITIMER_REAL))
"""

FINALIZES = """
import os, signal
from local.demo import signals

class Broken:
    def __del__(self):
        raise ValueError("broken")

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            pass

signals.raise_on_signals()
Interrupted()
Broken()
signals.stop_repeating()
print("ended")
"""


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )


def test_a_signal_during_clean_up_raises_once() -> None:
    """After stop_repeating, a signal raises its exception once and starts no timer."""
    done = _run(STOPS)
    assert done.stdout == "KeyboardInterrupt (0.0, 0.0)\nSystemExit (0.0, 0.0)\n"


def test_a_finalizers_own_fault_is_shown() -> None:
    """Of what Python drops, only the exception of a signal goes unreported."""
    done = _run(FINALIZES)
    assert done.stdout == "ended\n"
    assert done.stderr.count("Exception ignored") == 1
    assert done.stderr.endswith("ValueError: broken\n")
