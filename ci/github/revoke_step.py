"""What the action does when the job ends, however it ended: the token is taken back."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("repository.py")))  # first: it says where the imports below are

from ci.github import runner  # noqa: E402  found by the line above
from keybroker import KeybrokerError  # noqa: E402
from keybroker.revoke import revoke_token  # noqa: E402


def main() -> int:
    """Return the step's exit code; a token that cannot be taken back ends by itself within the hour, and fails no job."""
    token = os.environ.get("STATE_TOKEN", "")
    if not token:
        return 0  # there was none
    runner.mask(token)
    try:
        revoke_token(os.environ.get("STATE_URL", ""), token)
    except KeybrokerError as fault:
        runner.warning(f"the token was not taken back, and ends by itself: {fault}")
    else:
        runner.say("the token is taken back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
