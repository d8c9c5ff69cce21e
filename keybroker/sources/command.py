"""Runs a CI's own tool that prints an identity token, and cannot hang with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from keybroker.errors import IdentityError
from keybroker.sources.checked_token import checked_token
from keybroker.sources.wanted import PATIENCE, Wanted

_SHOWN = 300
"""Characters of what the tool says about its fault that go into the error."""


def token_of(command: Sequence[str], wanted: Wanted) -> str:
    """Run the tool in the environment that was given and return the token that it prints; raises IdentityError."""
    tool = shutil.which(command[0], path=wanted.environ.get("PATH", ""))
    if tool is None:
        raise IdentityError(f"{command[0]} is not on the PATH; this CI's own tool gives the job its identity token")
    try:
        done = subprocess.run(  # noqa: S603  the CI's own tool, found on its PATH; no shell
            [tool, *command[1:]],
            env=dict(wanted.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # SECURITY: `from None`, for that exception holds what the tool printed (test_a_tool_that_hangs_is_given_up).
        raise IdentityError(f"{command[0]} gave no identity token within {PATIENCE:.0f} s") from None
    except OSError as fault:
        raise IdentityError(f"{command[0]} cannot be started: {fault.strerror or type(fault).__name__}") from fault
    if done.returncode != 0:
        # SECURITY: what it printed to stdout may be a token, so only stderr is shown
        # (test_a_tool_that_fails_is_quoted_by_its_stderr_alone).
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:_SHOWN]
        raise IdentityError(f"{command[0]} failed with exit code {done.returncode}: {said or 'it said nothing'}")
    return checked_token(done.stdout.decode("utf-8", "replace"), f"what {command[0]} printed")
