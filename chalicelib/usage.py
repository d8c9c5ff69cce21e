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
    """What one principal did under one grant in one window. grant, key: "" for tokens refused before there was one.

    tokens, calls: how many were issued and admitted. refused_tokens, refused_calls: how many were not, by reason.
    name: the principal's, for people. last_seen: epoch seconds, to the minute.
    """

    principal: str
    grant: str
    key: str = ""
    name: str = ""
    tokens: int = 0
    calls: int = 0
    refused_tokens: Mapping[str, int] = field(default_factory=dict)
    refused_calls: Mapping[str, int] = field(default_factory=dict)
    last_seen: int = 0

    def cursor_key(self) -> str:
        """Return where it stands among the others: a cursor."""
        return cursor_key(self.principal, self.grant)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which window, and whose. window: one of WINDOWS. start: when it began, epoch seconds.

    principal, grant, key: exact, "" for any. after: a cursor, "" to start.
    """

    window: str
    start: int
    principal: str = ""
    grant: str = ""
    key: str = ""
    after: str = ""
    limit: int = PAGE_DEFAULT


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Uses, by principal and grant, and the cursor of the next page ("" at the end).

    A page may hold fewer than were asked for, or none, and have a next one: what it looked through was bounded.
    """

    uses: tuple[Use, ...]
    next: str


class Usage(Protocol):
    """Where counters are read. Methods raise Unavailable. What is read may be some seconds old."""

    def uses(self, query: UsageQuery) -> UsagePage:
        """Return who did anything in a window; raises ValueError for a cursor that is not one of ours.

        The calls of all callers of a grant together (`quota.EVERYBODY`) are nobody's, and left out.
        """

    def recent_calls(self, pairs: Collection[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """Return how many calls were admitted in this minute and the 59 before, by (principal, grant)."""


def window_start(window: str, at: int) -> int:
    """Return when the window of a time began, in epoch seconds."""
    return at - at % WINDOWS[window]
