"""What interrupts a program that has to clean up, in an interpreter of its own: signals are the whole process's."""

from __future__ import annotations

import subprocess
import sys

from tests.running import ROOT

PROGRAM = """
import os, signal
from local.demo import interruption

interruption.raise_on_signals()
interruption.cleaning_up()
for number in (signal.SIGINT, signal.SIGTERM):
    try:
        os.kill(os.getpid(), number)
    except (KeyboardInterrupt, SystemExit) as raised:
        print(type(raised).__name__, signal.getitimer(signal.ITIMER_REAL))
"""


def test_a_signal_while_something_cleans_up_raises_once_and_not_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "KeyboardInterrupt (0.0, 0.0)\nSystemExit (0.0, 0.0)\n"
