"""An identity token in KEYBROKER_ID_TOKEN: for whatever hands tokens out as variables (Bitbucket, HCP Terraform, …)."""

from __future__ import annotations

from keybroker.sources.checked_token import checked_token
from keybroker.sources.wanted import Wanted

VARIABLE = "KEYBROKER_ID_TOKEN"


def find(wanted: Wanted) -> str | None:
    """Return the token of KEYBROKER_ID_TOKEN, None if it is unset; raises IdentityError."""
    text = wanted.environ.get(VARIABLE)
    return None if text is None else checked_token(text, VARIABLE)
