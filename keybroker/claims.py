"""Reads a token's claims for display: nothing is verified here, and nothing is decided by them."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from keybroker.json_object import read_json_object


def unverified_claims(token: str) -> Mapping[str, object]:
    """Return a JWT's claims, to show them to its holder; empty if they cannot be read."""
    try:
        payload = token.split(".")[1]
        return read_json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        return {}
