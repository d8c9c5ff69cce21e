"""The chain of hashes over the audit, by which a changed, a missing and an inserted event are found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

GENESIS = "0" * 64
"""What the first link follows."""
CHANGED, MISSING, INSERTED, TRUNCATED = "changed", "missing", "inserted", "truncated"
FAULTS = (CHANGED, MISSING, INSERTED, TRUNCATED)
FAULTS_ON_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Head:
    """A link of the chain, and by it all before it."""

    seq: int
    """Its number; 0 while there is none."""
    hash: str
    """In hexadecimal, "" if there is no such link (any more)."""
    at: int
    """When the last thing in it happened, epoch seconds; 0 if it is not known (any more)."""
    kept_from: int
    """The first link that was not cut."""
    newest: int
    """The number of the newest link."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that is answered."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written."""

    what: str
    """One of FAULTS."""
    seq: int
    """The link that says so."""
    id: str
    """The event's id, "" where it is not known."""
    at: int
    """The event's time, epoch seconds; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class ChainPage:
    """What a part of the chain says, and the cursor of the next part ("" at the end)."""

    faults: tuple[Fault, ...]
    """FAULTS_ON_A_PAGE at most."""
    links: int
    events: int
    """Events that were compared."""
    unchained: int
    """Events in no link: from before there was a chain, or not sealed yet."""
    next: str

    def to_json(self) -> dict[str, Any]:
        """Return the form that is answered."""
        return {
            "items": [asdict(one) for one in self.faults],
            "links": self.links,
            "events": self.events,
            "unchained": self.unchained,
            "next": self.next or None,
        }


class AuditChain(Protocol):
    """Where the chain is kept."""

    def head(self, seq: int | None) -> Head:
        """Return a link, None: the newest; raises Unavailable."""

    def check_chain(self, after: str) -> ChainPage:
        """Compare a part of the chain with the events, from its start or a cursor; raises Unavailable.

        Raises ValueError for a malformed cursor.
        """


def content(stored: Mapping[str, Any]) -> str:
    """Return what of an event is hashed: all of its stored form but `repeated`, which grows after it was written."""
    return json.dumps({**stored, "repeated": 0}, sort_keys=True, separators=(",", ":"))


def link(before: str, seq: int, linked: str) -> str:
    """Return the hash of a link. before: the hash of the link before it. linked: what it holds."""
    return hashlib.sha256(f"keybroker-audit-1\n{before}\n{seq}\n{linked}".encode()).hexdigest()
