"""Reads JSON that others wrote: a response or a token's claims."""

from __future__ import annotations

import json
from collections.abc import Mapping


def read_json_object(text: str | bytes) -> Mapping[str, object]:
    """Return the members of a JSON object; empty if the text is not JSON, is nested too deeply or is not an object."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
