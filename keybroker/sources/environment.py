"""An identity token in KEYBROKER_ID_TOKEN: for systems that hand out tokens as variables (Bitbucket, HCP Terraform, …)."""

from __future__ import annotations

from keybroker.sources.identity_request import IdentityRequest, check_token

VARIABLE = "KEYBROKER_ID_TOKEN"


def find(request: IdentityRequest) -> str | None:
    """Return the token in KEYBROKER_ID_TOKEN, None if it is unset; raises IdentityError."""
    text = request.environ.get(VARIABLE)
    return None if text is None else check_token(text, VARIABLE)
