"""What a provider's API for managing keys can do, and with what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Send = Callable[[str, str, Mapping[str, str], float, bytes], tuple[int, bytes]]
"""Makes one request: method, URL, headers, seconds, body; returns status and body, which is empty unless the status is 2xx.

Raises FetchError."""

CALL_SECONDS = 8.0
"""How long a provider has to answer one request."""
PAGE_SECONDS = 3.0
"""How long it has for a page of a list, of which ten are read at most."""
LISTED_LIMIT = 1000
"""Keys that are listed at most; a provider that has more fails with `too_many`, and nothing is concluded from a part."""


class ManagementError(Exception):
    """A provider did not do what it was asked, or nobody knows whether it did. The reason is a fixed word.

    `status_<code>`, a reason of `FetchError`, `malformed` or `too_many`. Nothing that the provider answered is in it.
    """

    @property
    def reason(self) -> str:
        """The fixed word."""
        return str(self)


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A provider key that was just made. The provider shows its value this once."""

    id: str
    """The provider's id of it, which opens nothing."""
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as the provider lists it, without its value."""

    id: str
    name: str
    created: int
    """Epoch seconds; 0 if the provider does not say."""


class KeyManagement(Protocol):
    """One account's keys at one provider. Every method is bounded in time and raises ManagementError."""

    def create(self, name: str) -> CreatedKey:
        """Make a key of this name. If it raises, the key may have been made all the same: look for its name."""

    def named(self, prefix: str) -> tuple[ListedKey, ...]:
        """Return all keys whose names begin with a prefix. One that was made within the last seconds may be missing."""

    def delete(self, key_id: str) -> None:
        """Have a key refused from now on; one that is not there any more is none that fails."""
