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

    def practice_origin(self) -> str | None:
        """Return the practice provider's origin; None: keys are real."""
        # CloudFront accepts no IP address as an origin's domain name.
        return self.provider.replace("127.0.0.1", "localhost") if self.provider else None
