"""What a provider's answer to a probe says of a key (`entry.Probe`)."""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

from chalicelib.providers.keys import ProviderKey


class Probed(Enum):
    """What is known of a key once its provider was asked."""

    WORKS = "works"
    RESTRICTED = "restricted"
    """The provider knows it, and does not let it do what the probe does: its scopes may still open what is called."""
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Nothing was learned: no answer, too many requests, or a fault of the provider's."""
    NONE = "none"
    """There is no probe for keys of this provider."""


_REFUSED: Final = (400, 401)
"""Google and xAI answer 400 to a key that they do not know."""
_RESTRICTED: Final = 403


def judge(status: int) -> Probed:
    """Return what an HTTP status says of the key."""
    if 200 <= status < 300:
        return Probed.WORKS
    if status in _REFUSED:
        return Probed.REFUSED
    # SECURITY: what says nothing of the key is never taken for a yes (test_what_is_unknown_is_not_promoted).
    return Probed.RESTRICTED if status == _RESTRICTED else Probed.UNKNOWN


class KeyProbe(Protocol):
    """Who asks a provider."""

    def probe(self, key: ProviderKey, provider: str) -> tuple[Probed, str]:
        """Ask the provider at the key's own origin, in bounded time; return what is known, and why in a fixed word.

        The word is `status_<code>` or a reason of `FetchError`; "" if there is no probe.
        """
