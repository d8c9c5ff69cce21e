"""Our own issuer `/federation`: what its assertions say, and which of its keys signs.

Its keys, its URL and its `typ` are not those of the tokens that callers get: neither is ever taken for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

PATH: Final = "/federation"
DISCOVERY: Final = f"{PATH}/.well-known/openid-configuration"
JWKS: Final = f"{PATH}/jwks"
AHEAD_SECONDS: Final = 1200
"""For which a new key is published before it signs: providers keep a key set for up to 15 minutes."""
BEHIND_SECONDS: Final = 3600 + 900
"""For which a key that signs no more stays published: an assertion's longest life, and a cache's."""
_BEFORE: Final = 60
"""Seconds that a provider's clock may be behind ours."""


class FederationKey(NamedTuple):
    """The public side of one key. made: epoch seconds. ahead: seconds for which it is published before it signs."""

    kid: str
    algorithm: str
    made: int
    jwk: Mapping[str, str]
    ahead: int = AHEAD_SECONDS

    @property
    def signs(self) -> int:
        """Return from when on it signs, in epoch seconds."""
        return self.made + self.ahead


def issuer_of(broker: str) -> str:
    """Return the issuer's URL. broker: the broker's own."""
    return broker.rstrip("/") + PATH


def subject_of(broker: str, key: str) -> str:
    """Return the `sub` of a key's assertions, in the form of a SPIFFE ID. Providers' rules name it, so it never changes."""
    return f"spiffe://{urlsplit(broker).hostname}/key/{key}"


def claims(  # noqa: PLR0913, PLR0917  a claim each
    broker: str, key: str, audience: str, now: int, life: int, jti: str
) -> dict[str, object]:
    """Return the claims of an assertion. now: epoch seconds. life: seconds."""
    return {
        "iss": issuer_of(broker),
        "sub": subject_of(broker, key),
        "aud": audience,
        "iat": now - _BEFORE,
        "nbf": now - _BEFORE,
        "exp": now - _BEFORE + life,  # so that it is no longer than providers allow
        "jti": jti,
    }


def signing(keys: Iterable[FederationKey], algorithm: str, now: int) -> FederationKey | None:
    """Return the key that signs: the newest that has been published for long enough, or the first one ever.

    keys: in the order in which they were made.
    """
    found = [one for one in keys if one.algorithm == algorithm]
    ready = [one for one in found if one.signs <= now]
    if ready:
        return ready[-1]
    return found[0] if found else None


def published(keys: Sequence[FederationKey], now: int) -> tuple[FederationKey, ...]:
    """Return the keys that belong into the key set: all but those that have not signed for long enough. keys: as for `signing`."""
    return tuple(one for place, one in enumerate(keys) if not _is_over(one, keys[place + 1 :], now))


def _is_over(key: FederationKey, after: Iterable[FederationKey], now: int) -> bool:
    """Whether a later key has signed in its place for longer than anything of it can still be looked up."""
    return any(one.signs + BEHIND_SECONDS <= now for one in after if one.algorithm == key.algorithm)


def discovery(broker: str) -> dict[str, Any]:
    """Return the issuer's metadata (OpenID Connect Discovery 1.0, section 3)."""
    issuer = issuer_of(broker)
    return {
        "issuer": issuer,
        "jwks_uri": broker.rstrip("/") + JWKS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"],
    }


def is_ours(issuer: str, broker: str) -> bool:
    """Whether an issuer's URL is one of the broker's own, however its end is written."""
    return issuer.rstrip("/").lower() in own(broker)


def own(broker: str) -> tuple[str, str]:
    """Return the URLs of the broker's own issuers, in lower case."""
    return broker.rstrip("/").lower(), issuer_of(broker).lower()
