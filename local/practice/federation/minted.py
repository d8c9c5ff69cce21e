"""The tokens that a practice endpoint has minted, each with its end."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class MintedToken:
    """One token. account: whom it acts for. scope: what it opens, in the provider's words. expires: Unix time."""

    value: str = field(repr=False)
    account: str
    scope: str
    expires: float
    is_revoked: bool = False


class MintedTokens:
    """All that one provider has minted, over however many of its endpoints."""

    def __init__(self) -> None:
        self._tokens: dict[str, MintedToken] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def mint(self, value: str, account: str, expires: float, scope: str = "") -> MintedToken:
        """Keep a token. expires: Unix time from which it is refused."""
        self._tokens[value] = made = MintedToken(value, account, scope, expires)
        return made

    def find(self, value: str, now: float) -> MintedToken | None:
        """Return the token if a call with it is answered now."""
        found = self._tokens.get(value)
        return found if found is not None and not found.is_revoked and now < found.expires else None

    def accepts(self, value: str, now: float) -> bool:
        """Whether a call with this token is answered now."""
        return self.find(value, now) is not None

    def revoke(self, value: str) -> bool:
        """Refuse a token from now on; return whether there was one."""
        found = self._tokens.get(value)
        if found is not None:
            found.is_revoked = True
        return found is not None

    def revoke_account(self, account: str) -> None:
        """Refuse every token of an account from now on."""
        for one in self._tokens.values():
            one.is_revoked |= one.account == account


def opaque(prefix: str) -> str:
    """Make up a token without a content."""
    return f"{prefix}{secrets.token_urlsafe(48)}"


def jwt_like(claims: Mapping[str, object]) -> str:
    """Make up a token that looks like a provider's own JWT; its signature is none, since only the provider reads it."""
    parts = ({"alg": "RS256", "typ": "at+jwt", "kid": "practice"}, {**claims, "jti": secrets.token_hex(8)})
    texts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts]
    return ".".join([*texts, secrets.token_urlsafe(64)])
