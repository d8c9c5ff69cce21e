"""Where the parts of one machine are reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Urls:
    """The parts' URLs; provider and issuer are None without the practice parts, administration at the broker's."""

    broker: str
    edge: str
    provider: str | None
    issuer: str | None
    administration: str | None = None
