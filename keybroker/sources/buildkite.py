"""Buildkite: the agent hands out a fresh token for each request.

https://buildkite.com/docs/agent/v3/cli-oidc
"""

from __future__ import annotations

from keybroker.sources import command
from keybroker.sources.wanted import Wanted


def find(wanted: Wanted) -> str | None:
    """Return a fresh token of the agent, None outside of Buildkite; raises IdentityError."""
    if not wanted.environ.get("BUILDKITE"):
        return None
    return command.token_of(["buildkite-agent", "oidc", "request-token", "--audience", wanted.audience], wanted)
