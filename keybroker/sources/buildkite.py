"""Buildkite: the agent issues a fresh token for each request.

https://buildkite.com/docs/agent/cli/reference/oidc, read in November 2026: the ids are optional claims, which have to be
asked for; without them the token has slugs only, which are recycled, and the broker's preset refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from keybroker.sources import command
from keybroker.sources.identity_request import IdentityRequest

_IDS = ("organization_id", "pipeline_id")
_CLAIMS = "BUILDKITE_OIDC_TOKEN_CLAIMS"
"""The job's own wish for optional claims, comma-separated; `--claim` would replace it."""


def find(request: IdentityRequest) -> str | None:
    """Return a fresh token from the agent, None outside of Buildkite; raises IdentityError."""
    if not request.environ.get("BUILDKITE"):
        return None
    wanted = ["--audience", request.audience, "--claim", _claims(request.environ)]
    return command.run_for_token(["buildkite-agent", "oidc", "request-token", *wanted], request)


def _claims(environ: Mapping[str, str]) -> str:
    own = (one.strip() for one in environ.get(_CLAIMS, "").split(","))
    return ",".join(dict.fromkeys((*_IDS, *filter(None, own))))
