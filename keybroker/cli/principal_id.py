"""Which principal is meant: by its id, its name, the end of its id, or an id as a table shows it."""

from __future__ import annotations

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
    found: set[str] = set()
    for one in listed:
        # SECURITY: an id is what it says, whatever else it could be short for: a principal may choose its own name, and
        # some of its id (test_a_whole_id_means_itself).
        if one["principal"] == text:
            return text
        if _fits(text, one["principal"], one["name"]):
            found.add(one["principal"])
    return _only(text, sorted(found)) if found else text


def _only(text: str, found: list[str]) -> str:
    if len(found) > 1:
        shown = [*found[:_NAMED], *([f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else [])]
        raise CommandError(LOCAL, f"{text!r} could be any of {len(found)} principals: name one by its id", *shown)
    return found[0]


def is_short(text: str) -> bool:
    """Whether a text can be an id as a table shows it; the broker knows whole ids and names by itself."""
    return ELLIPSIS in text or (":" in text and "|" not in text and not text.startswith("arn:"))


def _fits(text: str, sub: str, name: str) -> bool:
    if ELLIPSIS in text:
        ends = [sub, *(sub[at + 1 :] for at, char in enumerate(sub) if char in "|:/"), name]
        return any(shows(text.split(ELLIPSIS), one) for one in ends)
    # Only whole parts: the end of a number is another number.
    return text in (sub, name) or any(sub.endswith(f"{mark}{text}") for mark in "|:/")


def shows(parts: list[str], whole: str) -> bool:
    """Whether a text is these parts in their order, with anything between two of them; in time that grows with its length."""
    first, *between, last = parts
    if len(whole) < len(first) + len(last) or not (whole.startswith(first) and whole.endswith(last)):
        return False
    at, end = len(first), len(whole) - len(last)
    for part in between:
        found = whole.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
