"""CircleCI: its tool makes a token for any audience.

https://circleci.com/docs/openid-connect-tokens/
"""

from __future__ import annotations

import json

from keybroker.sources import command
from keybroker.sources.wanted import Wanted


def find(wanted: Wanted) -> str | None:
    """Return a fresh token of the organisation's issuer, None outside of CircleCI; raises IdentityError."""
    if not wanted.environ.get("CIRCLECI"):
        return None
    claims = json.dumps({"aud": wanted.audience})
    return command.token_of(["circleci", "run", "oidc", "get", "--claims", claims], wanted)
