"""How many refused calls a principal may make: refusals give their number back, and so have a limit of their own.

Past it a token whose call is refused is stopped until the minute ends. The principal's other tokens go on: one that was
revoked, or leaked and is tried from elsewhere, must not stop those that are good.
"""

from __future__ import annotations

from chalicelib.edge.errors import RefusedTooOften
from chalicelib.edge.token import VerifiedToken
from chalicelib.quota import WINDOWS

MOST = 1_000
"""Refused calls of a principal under one grant, in a minute. Each costs the state as much as an admitted one."""
_MINUTE = WINDOWS["minute"]


class RefusalLimit:
    """Tokens of which, until the minute ends, this process refuses every call without any state.

    The state counts the refusals of all processes, so each of them goes beyond the limit by what it has under way.
    """

    def __init__(self) -> None:
        self._stopped: tuple[int, set[str]] = 0, set()

    def check(self, token: VerifiedToken, now: int) -> None:
        """Raise RefusedTooOften for a call with a token that is stopped."""
        minute, stopped = self._stopped
        if minute == now // _MINUTE and token.jti in stopped:
            raise RefusedTooOften(MOST, _MINUTE - now % _MINUTE)

    def note(self, token: VerifiedToken, refused: int, now: int) -> None:
        """Note that a call was refused, and how many of its principal this minute, in all processes."""
        # SECURITY: the token that was refused, and no other one of its principal (test_refusals_stop_no_other_token).
        if refused < MOST:
            return
        if self._stopped[0] != now // _MINUTE:
            self._stopped = now // _MINUTE, set()
        self._stopped[1].add(token.jti)
