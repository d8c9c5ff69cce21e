"""Signals as exceptions, tested in a separate interpreter since handlers belong to the whole process."""

from __future__ import annotations

import subprocess
import sys

from tests.running import ROOT

PROGRAM = """
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


def test_a_signal_during_clean_up_raises_once() -> None:
    """After stop_repeating, a signal raises its exception once and starts no timer."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "KeyboardInterrupt (0.0, 0.0)\nSystemExit (0.0, 0.0)\n"
