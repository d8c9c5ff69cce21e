"""GitLab CI/CD: a job's `id_tokens` are in variables that the job itself names."""

from __future__ import annotations

import re

from keybroker.errors import IdentityError
from keybroker.sources.identity_request import IdentityRequest, check_token

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9_]|^[^A-Z_]")


def find(request: IdentityRequest) -> str | None:
    """Return the job's token, None outside of GitLab; raises IdentityError if the job has not requested one."""
    if not request.environ.get("GITLAB_CI"):
        return None
    name = variable_name(request.audience)
    text = request.environ.get(name)
    if not text:
        raise IdentityError(
            f"this is a GitLab job, but {name} is not set; add to the job in .gitlab-ci.yml:\n"
            f"  id_tokens:\n    {name}:\n      aud: {request.audience}"
        )
    return check_token(text, name)


def variable_name(audience: str) -> str:
    """Return the variable that holds the token for an audience, named as other tools expect it (PyPI `id`, sigstore)."""
    return _NOT_IN_A_NAME.sub("_", audience.upper()) + "_ID_TOKEN"
