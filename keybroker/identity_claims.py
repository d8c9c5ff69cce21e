"""What an identity token says, for people to read: nothing is verified here, and nothing decided by it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping


def unverified_claims(token: str) -> Mapping[str, object]:
    """Return what an identity token says, to show it to whoever holds it; nothing if it cannot be read."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
