"""Makes the library importable from the action's own checkout, whatever the job has installed."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036  it is the runner's Python, not one of ours
    print("::error title=Keybroker::Python 3.11 or newer is needed; add actions/setup-python before this step")
    sys.exit(1)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # first, so that no other package of the name wins
