"""Issuing a token: the signer, and the token as its caller gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chalicelib.quota import Allowance


class Signer(Protocol):
    """Signs issued tokens."""

    def kid(self, wanted: str = "") -> str:
        """Return the kid of the key that signs; raises Unavailable if it is none of those at hand.

        wanted: the kid that the state names; "" for the one that is configured.
        """

    def begin(self, header: Mapping[str, str], claims: Mapping[str, object]) -> PendingSignature:
        """Start to sign with the header's `kid`, so that the state's transaction can run meanwhile.

        The result is fetched afterwards.
        """


class PendingSignature(Protocol):
    """A signature that has been started."""

    def result(self) -> str:
        """Return the compact JWS; raises Unavailable if it was not signed in time."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as its caller gets it. The repr leaves its text out."""

    access_token: str
    """The JWT."""
    expires_in: int
    """Seconds."""
    scope: str
    """`METHOD:/path` patterns, separated by spaces."""
    base_url: str
    """The edge's URL for the token's key."""
    allowances: tuple[Allowance, ...] = ()
    """What is left of the grant's quota of tokens."""

    def __repr__(self) -> str:
        # SECURITY: a token must not reach a log by way of a repr (test_canary.py).
        return f"IssuedToken(access_token=***, expires_in={self.expires_in}, scope={self.scope!r})"
