"""What is remembered of attempts to mint that came to nothing, for people to see and so that nobody hammers a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

_FIRST_PAUSE: Final = 5
_LONGEST_PAUSE: Final = 300
"""Seconds from one attempt to the next, at most, unless the provider asks for more."""


class MintNote(NamedTuple):
    """The last attempt for a key, which failed."""

    key: str
    at: int
    """Epoch seconds."""
    problem: str
    """Why, a fixed word or the provider's own."""
    denied: bool
    """Whether the provider said no; else it was away."""
    failures: int
    """How many attempts in a row failed."""
    next_try: int
    """Epoch seconds."""
    request_id: str = ""
    """The provider's own, for its support."""
    since: int = 0
    """Epoch seconds: the first attempt of those that failed in a row."""
    minted_for: str = ""
    """What was to be minted for, as `KeyVersion.minted_for`: a note of other ids says nothing of those in the policy now."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored."""
        return self._asdict()


class Asked(NamedTuple):
    """Who asks for a trial."""

    actor: str = ""
    """The administrator."""
    request_id: str = ""
    """The `x-request-id` of the answer."""


class Trial(NamedTuple):
    """What became of an attempt whose credential is not kept."""

    expires: int = 0
    """Epoch seconds; 0: there was none."""
    problem: str = ""
    """Why not; "" if there was one."""
    denied: bool = False
    request_id: str = ""
    """The provider's own."""


class MintNotes(Protocol):
    """Where they are kept. Methods raise Unavailable."""

    def mint_notes(self) -> Mapping[str, MintNote]:
        """Return them by the key's name."""

    def note_mint(self, key: str, note: MintNote | None) -> None:
        """Replace what is remembered of a key; None: its last attempt succeeded."""

    def end_pause(self, note: MintNote, now: int) -> None:
        """Have a key be due again from `now` on (epoch seconds), if this is still what is remembered of it."""


def pause(failures: int, *, denied: bool, retry_after: int) -> int:
    """Return the seconds until the next attempt. failures: those in a row. retry_after: what the provider asked for."""
    if denied:
        return max(_LONGEST_PAUSE, retry_after)
    grown: int = _FIRST_PAUSE * 3 ** min(failures - 1, 6)
    return max(min(grown, _LONGEST_PAUSE), retry_after)
