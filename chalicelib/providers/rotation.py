"""What is known of a provider key that is being replaced, and of the account at the provider that does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

CREATING, OVERLAP = "creating", "overlap"
"""The steps: until the new key is in force, and from then on until the one before it is deleted at the provider."""
OVERLAP_SECONDS: Final = 3600
"""For how long both keys work, unless someone says otherwise: longer than a call."""
LONGEST_OVERLAP_SECONDS: Final = 7 * 86400
HELD_SECONDS: Final = 90
"""For how long one attempt keeps others out; longer than it can last, so that only one that was killed is taken over."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """One replacement of a key's value, as far as it has come. It holds no value."""

    id: str
    author: str
    """Who began it."""
    started: int
    """Epoch seconds."""
    overlap: int
    """Seconds for which the key before the new one goes on working; 0 after a leak."""
    leaked: bool = False
    """Whether the key before it is known to others: then nothing of it is kept, and nobody can go back to it."""
    step: str = CREATING
    attempt: str = ""
    """Who is at work on it: an id; "" for nobody."""
    held_until: int = 0
    """Until when nobody else may be (epoch seconds)."""
    key_id: str = ""
    """The provider's id of the new key, once it is in force."""
    retiring: str = ""
    """The provider's id of the key to delete at the end; "" if that is not known, so someone has to do it by hand."""
    ends: int = 0
    """When that is due (epoch seconds)."""
    problem: str = ""
    """Why the last attempt came no further, a fixed word; "" if it did."""

    def busy(self, now: int) -> bool:
        """Whether someone is at work on it."""
        return bool(self.attempt) and now < self.held_until

    def to_text(self) -> str:
        """Return the form that state adapters store."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, stored: str) -> Rotation:
        """Read the stored form back."""
        return cls(**json.loads(stored))


@dataclass(frozen=True, slots=True)
class Management:
    """With which account at the provider a key is replaced. The credential itself is stored elsewhere, by its version."""

    version: str
    """Names the stored credential."""
    origin: str
    """Where it is sent."""
    settings: Mapping[str, str]
    """What else the provider's API needs: ids, which open nothing."""
    author: str
    """Who set it."""
    at: int
    """When it was set, in epoch seconds."""

    def to_text(self) -> str:
        """Return the form that state adapters store."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, stored: str) -> Management:
        """Read the stored form back."""
        return cls(**json.loads(stored))
