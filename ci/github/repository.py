"""Puts the action's own checkout first on the import path, before anything that the job has installed."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036  this runs with the runner's Python
    print("::error title=Keybroker::Python 3.11 or newer is needed; add actions/setup-python before this step")
    sys.exit(1)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # first, so that no other package of that name is imported
