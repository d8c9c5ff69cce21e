"""Names and types in a body, reduced to what any parser may take them for."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Return the name of a member without what writers of APIs, and parsers, make no difference by."""
    return re.sub("[^!-,.-^`-~]", "", name.casefold())  # neither `_` nor `-`, which APIs write either way


def type_of(value: object) -> object:
    """Return the type of an object, in lower case if it is a text, since some parsers do not care."""
    kind = value.get("type") if isinstance(value, dict) else None
    return kind.lower() if isinstance(kind, str) else kind
