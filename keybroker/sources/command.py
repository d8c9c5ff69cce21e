"""Runs a CI's own tool that prints an identity token, within a time limit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from keybroker.errors import IdentityError
from keybroker.sources.identity_request import TIMEOUT, IdentityRequest, check_token

_SHOWN = 300
"""Characters of the tool's stderr that go into the error."""


def run_for_token(command: Sequence[str], request: IdentityRequest) -> str:
    """Run the tool in the request's environment and return the token that it prints; raises IdentityError."""
    tool = shutil.which(command[0], path=request.environ.get("PATH", ""))
    if tool is None:
        raise IdentityError(
            f"{command[0]} is not on PATH; it is the CI's own tool, which issues the job's identity token"
        )
    try:
        done = subprocess.run(  # noqa: S603  the CI's own tool, found on its PATH; no shell
            [tool, *command[1:]],
            env=dict(request.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # SECURITY: `from None`: that exception holds what the tool printed (test_a_tool_that_hangs_is_given_up).
        raise IdentityError(f"{command[0]} issued no identity token within {TIMEOUT:.0f} s") from None
    except OSError as error:
        raise IdentityError(f"{command[0]} cannot be started: {error.strerror or type(error).__name__}") from error
    if done.returncode != 0:
        # SECURITY: what it printed to stdout may be a token, so only stderr is shown
        # (test_a_tool_that_fails_is_quoted_by_its_stderr_alone).
        stderr = " ".join(done.stderr.decode("utf-8", "replace").split())[:_SHOWN]
        raise IdentityError(f"{command[0]} failed with exit code {done.returncode}: {stderr or 'no error message'}")
    return check_token(done.stdout.decode("utf-8", "replace"), f"the output of {command[0]}")
