"""CircleCI: its command line issues a token for any audience.

https://circleci.com/docs/openid-connect-tokens/
"""

from __future__ import annotations

import json

from keybroker.sources import command
from keybroker.sources.identity_request import IdentityRequest


def find(request: IdentityRequest) -> str | None:
    """Return a fresh token from the organisation's issuer, None outside of CircleCI; raises IdentityError."""
    if not request.environ.get("CIRCLECI"):
        return None
    claims = json.dumps({"aud": request.audience})
    return command.run_for_token(["circleci", "run", "oidc", "get", "--claims", claims], request)
