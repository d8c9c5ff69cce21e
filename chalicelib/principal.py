"""Who a caller is: an issuer and an id of it that is not recycled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SUB_LIMIT = 1024
"""Characters in a principal's `sub` at most, so that an identity fits into a key of the state."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An issuer's URL (or `aws`), a stable id such as `repository_id:1234`, and a name for people to read."""

    issuer: str
    id: str
    name: str

    @property
    def sub(self) -> str:
        """The `sub` of issued tokens: `<issuer URL>|<claim>:<value>`."""
        return sub(self.issuer, self.id)


def sub(issuer: str, stable_id: str) -> str:
    """Build a `sub` from its two parts."""
    return f"{issuer}|{stable_id}"


def stable_id(identity: str, claims: Mapping[str, object]) -> str | None:
    """Return `<claim>:<value>` for the claim that identifies this issuer's subjects; None if it is no usable string."""
    value = claims.get(identity)
    if not isinstance(value, str) or not value or len(value) > SUB_LIMIT // 2:
        return None
    return f"{identity}:{value}"


def candidates(issuer: str, identities: Iterable[str], unverified_claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return every `sub` that these unverified claims could turn out to be, for reading state ahead of verification."""
    ids = (stable_id(identity, unverified_claims) for identity in sorted(identities))
    return tuple(sub(issuer, one) for one in ids if one is not None)
