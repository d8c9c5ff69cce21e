"""Handing out a token: who signs it, and what its caller gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chalicelib.quota import Allowance


class Signer(Protocol):
    """Signs issued tokens."""

    def kid(self) -> str:
        """Return the signing key's id; raises Unavailable if there is no key to sign with."""

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> PendingSignature:
        """Start to sign. Signing and the state's transaction run side by side; the result is fetched afterwards."""


class PendingSignature(Protocol):
    """A signature under way."""

    def result(self) -> str:
        """Return the compact JWS; raises Unavailable if it was not signed in time."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What the token endpoint answers. allowances: what is left of its grant's quota. The text is not in the repr."""

    access_token: str
    expires_in: int
    scope: str
    base_url: str
    allowances: tuple[Allowance, ...] = ()

    def __repr__(self) -> str:
        # SECURITY: a token must not reach a log by way of a repr (test_canary.py).
        return f"IssuedToken(access_token=***, expires_in={self.expires_in}, scope={self.scope!r})"
