"""The policy's keys without their values: which version is in force, where it is sent, who set it and when, what replaces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from chalicelib.audit import Event
from chalicelib.providers.origins import Origins
from chalicelib.providers.rotation import Management, Rotation

_SHOWN = ("version", "origin", "header", "author", "at", "expires")


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A version of a key that was set. Its value is not here; the edge reads origin and header from beside the value."""

    version: str
    """The secret's version, which names the value."""
    origin: str
    """Where the key may be sent, for people to see."""
    header: str
    """The header that the key is sent in, for people to see."""
    author: str
    """Who set it."""
    at: int
    """When it was set, in epoch seconds."""
    prefix: str | None = None
    """What stands before the value in its header; None if that was not recorded."""
    provider: str | None = None
    """The provider that it was set for, which the policy may change later; None if that was not recorded."""
    provider_key_id: str = ""
    """The provider's own id of the key, which opens nothing; "" if we did not make it there."""
    before: KeyVersion | None = None
    """The version that it replaced, to which one can go back; None if there is none. It has no `before` itself."""
    expires: int = 0
    """When the provider ends it (epoch seconds); 0: it does not."""
    minted_for: str = ""
    """What it was minted for, a digest of the policy's `federated`; "": it was set by hand."""

    def after(self, current: KeyVersion | None) -> KeyVersion:
        """Return this version as the one that replaces `current`, which is kept to go back to."""
        return replace(self, before=current and replace(current, before=None))

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store; what only minted versions have is left out of others."""
        left_out = () if self.minted_for else ("expires", "minted_for")
        before = self.before and self.before.to_json()
        return {name: value for name, value in asdict(self).items() if name not in left_out} | {"before": before}

    def shown(self) -> dict[str, Any]:
        """Return what the admin API answers."""
        return {name: getattr(self, name) for name in _SHOWN} | {"expires": self.expires or None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> KeyVersion:
        """Read the stored form back."""
        before = stored.get("before")
        return cls(**{**stored, "before": cls.from_json(before) if before else None})


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of the policy. current: the version in force, None if its value was never set.

    rotate_after: seconds after which its value is due to be replaced, None if the policy does not say. rotation: the
    replacement that is under way. management: with what its value is replaced at the provider; None: by hand.
    federated: the ids with which its credentials are minted, as the policy has them; None: its value is set.
    """

    name: str
    provider: str
    current: KeyVersion | None
    rotate_after: int | None = None
    rotation: Rotation | None = None
    management: Management | None = None
    federated: Mapping[str, str] | None = None

    def kept(self, origins: Origins) -> KeyVersion | None:
        """Return the version whose origin, header and prefix stay where nothing else is said; None: the provider's own."""
        current = self.current
        # SECURITY: a key whose provider the policy has changed since is another company's: its value must not go to the
        # former one's address (test_another_provider_keeps_nothing).
        if (
            current is None
            or current.minted_for
            or current.provider not in (None, self.provider)
            or not origins.allows(current.origin)
        ):
            return None
        return current

    def due(self) -> int | None:
        """Return since when, or from when on, its value is due to be replaced (epoch seconds); None if it is not."""
        return self.current.at + self.rotate_after if self.current and self.rotate_after else None


class Keys(Protocol):
    """The policy's keys and the version of each in force. Methods raise Unavailable: nothing was changed.

    StateUncertain, where something may be.
    """

    def keys(self, event: Event) -> tuple[KeyInfo, ...]:
        """Return the policy's keys, by name, once the event that records who asked is written."""

    def known_keys(self) -> tuple[KeyInfo, ...]:
        """Return the policy's keys, by name, for what looks at them every few minutes and leaves no event of it."""

    def key_info(self, name: str) -> KeyInfo | None:
        """Return a key with the version in force, None for a key that the policy does not name."""

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        """Put a version in force from the next call on, and write the event; its value must be stored already.

        replaces: the version that must be in force until then, "" for none; None: whichever is.
        Raises NoSuchKey (404) for a key that the policy does not name, KeyChanged (409) if another version is in force.
        """

    def change_key(self, before: KeyInfo, after: KeyInfo, event: Event | None = None) -> None:
        """Have a key's version, rotation and management be as in `after`, if they are as in `before`; all at once, with the event.

        The value of a version that comes into force must be stored already. None: what is no decision leaves no event.
        Raises NoSuchKey (404) for a key that the policy does not name, KeyChanged (409) if anything is not as in `before`.
        """
