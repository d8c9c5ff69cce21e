"""Which principal is meant: by its id, its name, the end of its id, or an id as a table shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError

ELLIPSIS: Final = "…"
_NAMED: Final = 10
"""Candidates that an error names."""


def resolve(client: AdminClient, text: str) -> str:
    """Return a principal's whole id; the text itself if it is one, or if no principal of today or yesterday fits.

    Raises CommandError if several fit, which are named.
    """
    if ELLIPSIS not in text and ("|" in text or text.startswith("arn:")):
        return text
    listed = client.items("/admin/principals", {})
    found = sorted({one["principal"] for one in listed if _fits(text, (one["principal"], one["name"]))})
    if len(found) > 1:
        shown = [*found[:_NAMED], *([f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else [])]
        raise CommandError(LOCAL, f"{text!r} could be any of {len(found)} principals: name one by its id", *shown)
    return found[0] if found else text


def is_short(text: str) -> bool:
    """Whether a text can be an id as a table shows it; the broker knows whole ids and names by itself."""
    return ELLIPSIS in text or (":" in text and "|" not in text and not text.startswith("arn:"))


def _fits(text: str, names: Iterable[str]) -> bool:
    sub, name = names
    if ELLIPSIS in text:
        shown = re.compile(".*".join(map(re.escape, text.split(ELLIPSIS))), re.DOTALL)
        ends = [sub, *(sub[at + 1 :] for at, char in enumerate(sub) if char in "|:/"), name]
        return any(shown.fullmatch(one) for one in ends)
    # Only whole parts: the end of a number is another number.
    return text in (sub, name) or any(sub.endswith(f"{mark}{text}") for mark in "|:/")
