"""Why a command failed, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence

from keybroker.duration import words
from keybroker.errors import IdentityError, KeybrokerError, NoIdentity, Refused, Unreachable

DONE = 0
LOCAL = 1
"""An error in the command, in a file, or on this machine."""
REMOTE = 2
"""The broker is unreachable or failing."""
REFUSED = 3
"""The broker said no."""
NO_IDENTITY = 4
"""No workload identity was found, or its source is broken."""
QUOTA = 5
"""A quota is used up; the text says when to try again."""
INTERRUPTED = 130
"""128 + SIGINT, as in shells."""


class CommandError(Exception):
    """The command failed. lines: for people, without `error:` in front; the first says what, the others what to do.

    reason_last: whether the first is shown after the others, for programs that show the end of what a command says.
    refusal: the fixed word of the broker's refusal, such as `rotation_busy`; "" if it was none.
    """

    def __init__(self, code: int, *lines: str, reason_last: bool = False, refusal: str = "") -> None:
        super().__init__(code, *lines)
        self.code = code
        self.lines: Sequence[str] = lines
        self.reason_last = reason_last
        self.refusal = refusal


def from_error(error: KeybrokerError, *, reason_last: bool = False) -> CommandError:
    """Return how a command fails when the library raises this; the library's own advice takes precedence."""
    lines = str(error).splitlines() or [type(error).__name__]
    if isinstance(error, Refused):
        code, hint = _from_refusal(error)
    elif isinstance(error, Unreachable):
        code, hint = REMOTE, "check the broker's address (--url, KEYBROKER_URL) and that it is running"
    else:
        code, hint = (NO_IDENTITY if isinstance(error, NoIdentity | IdentityError) else LOCAL), ""
    return CommandError(code, *lines, *([hint] if hint and not error.advice else []), reason_last=reason_last)


def _from_refusal(refused: Refused) -> tuple[int, str]:
    if refused.status == 429 and refused.error != "quota_exceeded":
        return REMOTE, "too many requests to the broker; try again later"  # API Gateway's own limit, not a grant's
    if refused.error == "quota_exceeded":
        wait = "later" if refused.retry_after is None else f"in {words(refused.retry_after)}"
        return QUOTA, f"try again {wait}"
    if refused.permanent:
        return REMOTE, "no token was issued, and trying again does not help: the broker needs its operator"
    if refused.status >= 500:
        return REMOTE, "server error: no token was issued; try again later"
    return REFUSED, ""
