"""What token is wanted, and of whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """Each member is as `exchange_token` and `ambient.find` have it; audience: the identity's; region: the broker's."""

    url: str
    key: str
    grant: str | None = None
    scope: str | None = None
    audience: str | None = None
    region: str | None = None
    timeout: float = 10.0
