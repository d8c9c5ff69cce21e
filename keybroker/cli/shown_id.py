"""An id of a revocation, a request or a signing key as a table shows it, without its middle: which one is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import LOCAL, CommandError
from keybroker.cli.principal_id import ELLIPSIS, shows

_MOST: Final = 1000
"""Items that are looked through, newest first."""


def whole(client: AdminClient, text: str, path: str, query: Mapping[str, object], member: str) -> str:
    """Return the whole id, which is the text itself unless something was left out of it.

    Raises CommandError if none or several of the newest items at the path fit; several are named.
    """
    if ELLIPSIS not in text:
        return text
    return one_of((one[member] for one in client.items(path, query, _MOST)), text, f"the newest {_MOST:,}")


def one_of(ids: Iterable[str], text: str, what: str) -> str:
    """Return the one of these that a text without its middle shows; raises CommandError. what: they are, for people."""
    found = sorted({one for one in ids if shows(text.split(ELLIPSIS), one)})
    if not found:
        raise CommandError(LOCAL, f"{text!r} is none of {what}: give the whole id")
    if len(found) > 1:
        raise CommandError(LOCAL, f"{text!r} could be any of {len(found)}: give the whole id", *found[:10])
    return found[0]
