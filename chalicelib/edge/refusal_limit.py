"""How many refused calls a principal may make: refusals give their number back, and so have a limit of their own."""

from __future__ import annotations

from chalicelib.edge.errors import RefusedTooOften
from chalicelib.edge.token import VerifiedToken
from chalicelib.quota import WINDOWS

MOST = 1_000
"""Refused calls of a principal under one grant, in a minute. Each costs the state as much as an admitted one."""
_MINUTE = WINDOWS["minute"]


class RefusalLimit:
    """Who has made so many refused calls that, until the minute ends, this process refuses the next without any state.

    The state counts the refusals of all processes, so each of them goes beyond the limit by what it has under way.
    """

    def __init__(self) -> None:
        self._stopped: tuple[int, set[tuple[str, str]]] = 0, set()

    def check(self, token: VerifiedToken, now: int) -> None:
        """Raise RefusedTooOften for a call of a principal that was refused too often this minute."""
        minute, stopped = self._stopped
        if minute == now // _MINUTE and (token.grant, token.principal) in stopped:
            raise RefusedTooOften(MOST, _MINUTE - now % _MINUTE)

    def note(self, token: VerifiedToken, refused: int, now: int) -> None:
        """Note how many calls of a principal were refused this minute, in all processes."""
        # SECURITY: whose token verified, so that nobody stops anyone else (test_refusals_stop_nobody_else).
        if refused < MOST:
            return
        if self._stopped[0] != now // _MINUTE:
            self._stopped = now // _MINUTE, set()
        self._stopped[1].add((token.grant, token.principal))
