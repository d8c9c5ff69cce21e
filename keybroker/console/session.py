"""Who may use the page: the browser that opened it from the terminal that runs it, until it is idle for too long."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final

IDLE_SECONDS: Final = 30 * 60
LONGEST_SECONDS: Final = 12 * 3600
ENTER_SECONDS: Final = 60
"""How long the address that opens the page works, once."""


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass
class Session:
    """One run of the page. started: by a clock that only goes on; all times are seconds of it."""

    started: float
    secret: str = field(default_factory=_secret, repr=False)
    """Opens it, once."""
    cookie: str = field(default_factory=_secret, repr=False)
    csrf: str = field(default_factory=_secret, repr=False)
    """Goes with every change; pages of other origins cannot read it."""
    is_entered: bool = False
    seen: float = 0.0

    def __post_init__(self) -> None:
        """Begin to count when it starts."""
        self.seen = self.started

    def enter(self, given: str, now: float) -> bool:
        """Take the secret, once and within a minute; return whether it is the right one."""
        # SECURITY: compared in constant time, and gone with its first use (test_the_secret_works_once).
        right = hmac.compare_digest(given.encode(), self.secret.encode())
        if not right or self.is_entered or now - self.started > ENTER_SECONDS:
            return False
        self.is_entered = True
        self.seen = now
        return True

    def admits(self, cookie: str, now: float, *, acts: bool) -> bool:
        """Return whether a request with this cookie may be answered. acts: whether a person made it, and not a timer."""
        if self.ended(now) or not self.is_entered or not hmac.compare_digest(cookie.encode(), self.cookie.encode()):
            return False
        if acts:
            self.seen = now
        return True

    def is_own(self, csrf: str) -> bool:
        """Return whether a change was sent by one of our pages."""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())

    def ended(self, now: float) -> bool:
        """Return whether nobody has used it for too long, or it has been there for too long."""
        return now - self.seen >= IDLE_SECONDS or now - self.started >= LONGEST_SECONDS
