"""Buildkite: the agent issues a fresh token for each request.

https://buildkite.com/docs/agent/v3/cli-oidc
"""

from __future__ import annotations

from keybroker.sources import command
from keybroker.sources.identity_request import IdentityRequest


def find(request: IdentityRequest) -> str | None:
    """Return a fresh token from the agent, None outside of Buildkite; raises IdentityError."""
    if not request.environ.get("BUILDKITE"):
        return None
    return command.run_for_token(["buildkite-agent", "oidc", "request-token", "--audience", request.audience], request)
