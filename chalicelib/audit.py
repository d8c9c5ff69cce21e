"""What happened: one small frozen record per decision, written in the transaction of what it records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

KINDS = (
    "token.issued",
    "token.refused",
    "revocation.made",
    "revocation.lifted",
    "policy.applied",
    "key.set",
    "keys.read",
    "principal.pinned",
)
PAGE_LIMIT = 200
"""Items on a page at most: of events, uses, revocations and principals alike."""
PAGE_DEFAULT = 50
"""Items on a page if the caller does not say."""


@dataclass(frozen=True, slots=True)
class Event:
    """One decision. Never holds a token or a key: `jti` is an issued token's id, `expires` its `exp`. at: epoch seconds.

    reason: why not, a fixed word. actor: the administrator, for what administrators do. claims: the verified claims
    of the subject token. detail: what else matters, e.g. a revocation's own reason.
    """

    id: str
    at: int
    kind: str
    request_id: str
    principal: str = ""
    principal_name: str = ""
    issuer: str = ""
    key: str = ""
    grant: str = ""
    jti: str = ""
    expires: int = 0
    reason: str = ""
    actor: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)
    detail: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a kind that readers do not know, so that no record is dropped silently later."""
        if self.kind not in KINDS:
            raise ValueError(f"not an audit kind: {self.kind}")

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored and answered."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Event:
        """Read the stored form back; raises TypeError on a member that is missing or unknown."""
        return cls(**stored)


FILTERS = ("request_id", "principal", "grant", "key", "kind")


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. equals: exact values of FILTERS; since, until: epoch seconds; after: a cursor, "" to start."""

    equals: Mapping[str, str] = field(default_factory=dict)
    since: int = 0
    until: int = 2**53
    after: str = ""
    limit: int = PAGE_DEFAULT


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and have a next one: what it looked through was bounded.
    """

    events: tuple[Event, ...]
    next: str


class Audit(Protocol):
    """Where events are kept. What happens elsewhere in a transaction is written there, with its event."""

    def record(self, event: Event) -> None:
        """Write one event alone (a refusal); raises Unavailable, and then the refusal is a 503."""

    def page(self, query: Query) -> Page:
        """Return events; raises Unavailable, or ValueError for a cursor that is not one of ours."""
