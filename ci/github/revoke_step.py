"""The action's last step, however the job ended: revokes the token."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("repository.py")))  # first, so that the imports below are found

from ci.github import runner  # noqa: E402  found by the line above
from keybroker import KeybrokerError  # noqa: E402
from keybroker.client import revoke_token  # noqa: E402


def main() -> int:
    """Return the step's exit code; a token that cannot be revoked expires within the hour, and does not fail the job."""
    token = os.environ.get("STATE_TOKEN", "")
    if not token:
        return 0  # there is no token
    runner.mask(token)
    try:
        revoke_token(os.environ.get("STATE_URL", ""), token)
    except KeybrokerError as error:
        runner.warning(f"the token was not revoked and expires by itself: {error}")
    else:
        runner.say("the token is revoked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
