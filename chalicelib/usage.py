"""Who used what, and how much: the counters that quotas are counted with, to be read by people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from chalicelib.audit import PAGE_DEFAULT
from chalicelib.quota import WINDOWS, cursor_key

RECENT_SECONDS = 3600
"""Seconds that count as recent: this minute and the 59 before."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one principal did under one grant in one window."""

    principal: str
    grant: str
    """"" for tokens that were refused before a grant was chosen."""
    key: str = ""
    """The name of the grant's key; "" as for the grant."""
    name: str = ""
    """The principal's name, for people."""
    tokens: int = 0
    """Tokens issued."""
    calls: int = 0
    """Calls admitted."""
    refused_tokens: Mapping[str, int] = field(default_factory=dict)
    """Tokens refused, by reason."""
    refused_calls: Mapping[str, int] = field(default_factory=dict)
    """Calls refused, by reason."""
    last_seen: int = 0
    """Epoch seconds, to the minute."""

    def cursor_key(self) -> str:
        """Return the cursor of the page that begins after it."""
        return cursor_key(self.principal, self.grant)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Whose usage, of which window."""

    window: str
    """One of WINDOWS."""
    start: int
    """When the window began, in epoch seconds."""
    principal: str = ""
    """A `sub`, exactly; "" for any."""
    grant: str = ""
    """A grant's name, exactly; "" for any."""
    key: str = ""
    """A key's name, exactly; "" for any."""
    after: str = ""
    """The cursor of the page before; "" for the first page."""
    limit: int = PAGE_DEFAULT
    """Uses on a page, at most."""


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Uses, by principal and grant, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and still have a next one: each reads a bounded number of rows.
    """

    uses: tuple[Use, ...]
    next: str


class Usage(Protocol):
    """Where counters are read. Methods raise Unavailable. What is read may be some seconds old."""

    def uses(self, query: UsageQuery) -> UsagePage:
        """Return the usage of a window; raises ValueError for a malformed cursor.

        The counters of all callers of a grant together (`quota.EVERYBODY`) are left out.
        """

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """Return how many calls were admitted in this minute and the 59 before, by (principal, grant)."""


def window_start(window: str, at: int) -> int:
    """Return when the window of a time began, in epoch seconds."""
    return at - at % WINDOWS[window]
