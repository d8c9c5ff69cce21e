"""The summary of a refused job: the reason, its identity's claims, and an example of a matching grant."""

from __future__ import annotations

import json
from collections.abc import Mapping

_SHOWN = (
    *("iss", "aud", "sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "ref"),
    *("environment", "event_name", "workflow_ref", "job_workflow_ref", "runner_environment"),
)
"""The claims that grants match; those about a single run are left out."""


def refused(why: str, claims: Mapping[str, object]) -> str:
    """Return Markdown. why: the error's text. claims: of the job's identity token, unverified; empty without a token."""
    parts = ["### Keybroker issued no token\n", _block(why)]
    shown = {name: claims[name] for name in _SHOWN if name in claims}
    if shown:
        parts += ["The job's identity token has these claims:\n", _block(json.dumps(shown, indent=2))]
    if "repository_id" in claims:
        parts += ["A grant that admits it starts like this (docs/grants.md):\n", _block(_grant(claims))]
    return "\n".join(parts)


def _grant(claims: Mapping[str, object]) -> str:
    owner, repository = (json.dumps(claims.get(name)) for name in ("repository_owner_id", "repository_id"))
    matched = f"{{repository_owner_id: {owner}, repository_id: {repository}}}"
    return f"to: {{issuer: <the issuer's name in the policy>, claims: {matched}}}"


def _block(text: str) -> str:
    # SECURITY: a branch can have any name; none may end the block and continue as Markdown or HTML
    # (test_what_a_branch_is_called_is_no_markdown).
    return "\n".join(f"    {line}" for line in text.splitlines()) + "\n"
