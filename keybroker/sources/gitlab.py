"""GitLab CI/CD: a job's `id_tokens` stand in variables that the job names itself."""

from __future__ import annotations

import re

from keybroker.errors import IdentityError
from keybroker.sources.checked_token import checked_token
from keybroker.sources.wanted import Wanted

_NO_NAME = re.compile(r"[^A-Z0-9_]|^[^A-Z_]")


def find(wanted: Wanted) -> str | None:
    """Return the job's token, None outside of GitLab; raises IdentityError if the job asked for none."""
    if not wanted.environ.get("GITLAB_CI"):
        return None
    name = variable(wanted.audience)
    text = wanted.environ.get(name)
    if not text:
        raise IdentityError(
            f"this is a GitLab job, and {name} is not set; add to the job in .gitlab-ci.yml:\n"
            f"  id_tokens:\n    {name}:\n      aud: {wanted.audience}"
        )
    return checked_token(text, name)


def variable(audience: str) -> str:
    """Return the variable that holds the token for an audience, as other tools expect it (PyPI `id`, sigstore)."""
    return _NO_NAME.sub("_", audience.upper()) + "_ID_TOKEN"
