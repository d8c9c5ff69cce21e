"""The entry point of `python -m local`."""

from __future__ import annotations

import subprocess
import sys

from tests.running import ROOT

INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "local.program":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from local.__main__ import main
sys.exit(main(["serve"]))
"""


def test_a_ctrl_c_amid_the_imports_shows_no_traceback() -> None:
    """Who ends a command before it has begun sees one line, and 128 + SIGINT, as in shells."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
