"""What is known of the policy's keys but their values: which version is in force, where it goes, who set it and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from chalicelib.audit import Event
from chalicelib.providers.keys import KeyConfig


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A version of a key that was set. origin, header: set with its value, which is not here. at: epoch seconds.

    The edge reads origin and header from beside the value; here they are for people to see.
    """

    version: str
    origin: str
    header: str
    author: str
    at: int

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store and the admin API answers."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> KeyVersion:
        """Read the stored form back."""
        return cls(**stored)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of the policy. current: the version in force, None if its value was never set."""

    name: str
    provider: str
    current: KeyVersion | None


class Keys(Protocol):
    """Which keys there are, and which version of each is in force. Methods raise Unavailable: nothing was changed."""

    def keys(self, event: Event) -> tuple[KeyInfo, ...]:
        """Return the policy's keys, by name, once the event that says who looked is written."""

    def key_config(self, name: str) -> KeyConfig | None:
        """Return a key's provider and the version in force, None for a key that the policy does not name."""

    def set_key(self, name: str, version: KeyVersion, event: Event) -> None:
        """Put a version in force from the next call on, with the event; its value must have been stored before.

        Raises NoSuchKey (404) for a key that the policy does not name.
        """
