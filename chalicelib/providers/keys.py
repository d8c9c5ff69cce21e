"""Providers' keys: what is kept of one, and the ports to where they are kept."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

LISTS: Final = frozenset({"anthropic-beta"})
"""Headers that are a list, to which a caller's own may belong as well."""
EXPIRY_MARGIN: Final = 10
"""Seconds before its end at which a value counts as expired: clocks differ, and a call takes its way."""
MINTED: Final = "minted-"
"""Begins the names of versions that were minted, and by it the edge knows where they are kept. No other version's name does."""


def version_of_set(new_id: str) -> str:
    """Return the version of a value that is set: a new id, unless that begins as those of minted values do."""
    # SECURITY: by this name the edge would look for it where minted values are (test_no_set_version_looks_minted).
    return f"0{new_id}" if new_id.startswith(MINTED) else new_id


class ProviderKey:
    """A provider's key with the origin and the header that it is for, which are set and used together.

    Not a tuple, whose members `%` and JSON would show; not a dataclass, which slows a cold start.
    """

    __slots__ = ("beside", "expires", "header", "origin", "prefix", "value", "version")

    def __init__(  # noqa: PLR0913, PLR0917  what belongs together
        self,
        version: str,
        origin: str,
        header: str,
        prefix: str,
        value: str,
        expires: int = 0,
        beside: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Take the key. prefix: text before it in the header, e.g. "Bearer ".

        expires: when the provider ends it (epoch seconds), 0: it does not. beside: headers that go with it, by lower-case
        name: one of LISTS gets the value added to its own, any other is replaced, and one without a value is taken off.
        """
        self.version: Final = version
        self.origin: Final = origin
        self.header: Final = header
        self.prefix: Final = prefix
        self.value: Final = value
        self.expires: Final = expires
        self.beside: Final = beside

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProviderKey):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        # SECURITY: keys redact themselves (test_canary.py).
        return f"ProviderKey(version={self.version!r}, origin={self.origin!r}, value=***)"

    def has_expired(self, now: int) -> bool:
        """Whether the provider would not take it any more, by a clock that may be a little behind. now: epoch seconds."""
        return bool(self.expires) and now >= self.expires - EXPIRY_MARGIN

    def reveal(self) -> str:
        """Return the header's value with the real key in it. Called where the header is set, and nowhere else."""
        return self.prefix + self.value


class KeyConfig(NamedTuple):
    """A key as state has it, without its value."""

    provider: str
    """A name of PROVIDERS."""
    version: str = ""
    """The version in force; "" if no value was ever set, or minted."""
    is_federated: bool = False
    """Whether its credentials are minted, so that nobody can set a value."""


class ProviderKeys(Protocol):
    """Where provider keys are kept, as the edge reads them."""

    def get(self, name: str, version: str) -> ProviderKey:
        """Return this version of the key; raises Unavailable if it cannot be read or does not exist."""


class ProviderKeyStore(Protocol):
    """Where provider keys are kept, as administrators write them; they cannot read them back."""

    def put(self, name: str, key: ProviderKey) -> None:
        """Store a version of the key, which nothing uses yet; earlier versions stay. Raises Unavailable."""
