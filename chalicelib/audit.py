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
    "policy.kept",
    "key.set",
    "key.kept",
    "key.rotation_begun",
    "key.rotated",
    "key.retired",
    "key.rotation_ended",
    "key.rolled_back",
    "key.management_set",
    "key.minted",
    "key.mint_denied",
    "key.mint_tried",
    "keys.read",
    "principal.pinned",
    "signing.prepared",
    "signing.activated",
    "signing.tainted",
    "signing.retired",
    "admin.added",
    "admin.removed",
    "state.backed_up",
    "state.restored",
    "state.sealed",
    "audit.exported",
    "audit.cut",
)
PAGE_LIMIT = 200
"""Items on a page at most: of events, uses, revocations and principals alike."""
REPEAT_SECONDS = 600
"""For how long the same refusal is counted in its first event; then there is another one."""
PAGE_DEFAULT = 50
"""Items on a page if the caller does not say."""


@dataclass(frozen=True, slots=True)
class Event:
    """One decision. It never holds a token or a provider key. Text is "" where it does not apply."""

    id: str
    at: int
    """Epoch seconds."""
    kind: str
    """One of KINDS."""
    request_id: str
    """The `x-request-id` of the answer."""
    principal: str = ""
    """The `sub`."""
    principal_name: str = ""
    """The principal's name, for people."""
    issuer: str = ""
    """The URL of the issuer that vouched for the principal, or `aws`."""
    key: str = ""
    """The key's name."""
    grant: str = ""
    """The grant's name."""
    jti: str = ""
    """The id of the token that was issued or revoked."""
    expires: int = 0
    """The `exp` of the token that was issued."""
    reason: str = ""
    """Why it was refused, or why what was minted did not come into force; a fixed word."""
    actor: str = ""
    """The administrator, or the holder who revoked a token."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """The verified claims of the subject token."""
    detail: Mapping[str, str] = field(default_factory=dict)
    """What else matters, such as the reason of a revocation."""
    repeated: int = 0
    """How often the same was refused again within REPEAT_SECONDS, of which there is no other event."""
    subject: str = field(default="", compare=False)
    """Of a refusal: what is the same if the same subject token is refused again for the same reason, a hash. Not answered."""

    def __post_init__(self) -> None:
        """Refuse an unknown kind, which readers would drop silently."""
        if self.kind not in KINDS:
            raise ValueError(f"not an audit kind: {self.kind}")

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored and answered."""
        return {name: value for name, value in asdict(self).items() if name != "subject"}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Event:
        """Read the stored form back; raises TypeError for a missing or unknown member."""
        return cls(**stored)


FILTERS = ("request_id", "principal", "grant", "key", "kind")


@dataclass(frozen=True, slots=True)
class Query:
    """Which events to return."""

    equals: Mapping[str, str] = field(default_factory=dict)
    """Exact values, by a name of FILTERS."""
    since: int = 0
    """Epoch seconds, inclusive."""
    until: int = 2**53
    """Epoch seconds, exclusive."""
    after: str = ""
    """The cursor of the page before; "" for the first page."""
    limit: int = PAGE_DEFAULT
    """Events on a page, at most."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and still have a next one: each reads a bounded number of events.
    """

    events: tuple[Event, ...]
    next: str


@dataclass(frozen=True, slots=True)
class IssuedCount:
    """How many events there are of tokens issued, in a time."""

    tokens: Mapping[tuple[str, str], int]
    """By principal and grant."""
    complete: bool
    """Whether all of them were counted."""


class Audit(Protocol):
    """Where events are kept. An event that belongs to another write is written in that write's transaction."""

    def record(self, event: Event) -> None:
        """Write an event by itself (a refusal); raises Unavailable, and then the refusal becomes a 503.

        One with the `subject` of an event of the last REPEAT_SECONDS is counted in that event's `repeated` instead.
        """

    def page(self, query: Query) -> Page:
        """Return events; raises Unavailable, or ValueError for an unknown filter or a malformed cursor."""

    def count_issued(self, since: int, until: int, at_most: int) -> IssuedCount:
        """Count the tokens issued from `since` to before `until` (epoch seconds), `at_most` events; raises Unavailable."""
