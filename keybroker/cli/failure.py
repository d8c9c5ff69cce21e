"""Why a command did not do what it was asked to, and with which exit code it ends."""

from __future__ import annotations

from collections.abc import Sequence

from keybroker.errors import IdentityError, KeybrokerError, NoIdentity, Refused, Unreachable

DONE = 0
LOCAL = 1
"""A mistake in the command, in a file, or on this machine."""
REMOTE = 2
"""The broker was not reached, or is ill."""
REFUSED = 3
"""The broker said no."""
NO_IDENTITY = 4
"""Nothing around this process says who it is, or what does is broken."""
QUOTA = 5
"""Too many; the text says when it opens again."""
INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


class Failure(Exception):  # noqa: N818  the command's failure, not a fault of the program
    """A command's end. lines: for people, without `error:` in front; the first says what, later ones what to do."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(code, *lines)
        self.code = code
        self.lines: Sequence[str] = lines


def of(fault: KeybrokerError) -> Failure:
    """Return how a command ends when the library raises this; the library's own advice is shown where it has some."""
    lines = str(fault).splitlines() or [type(fault).__name__]
    if isinstance(fault, Refused):
        code, hint = _refused(fault)
    elif isinstance(fault, Unreachable):
        code, hint = REMOTE, "is the address right (--url, KEYBROKER_URL), and the broker up?"
    else:
        code, hint = (NO_IDENTITY if isinstance(fault, NoIdentity | IdentityError) else LOCAL), ""
    return Failure(code, *lines, *([hint] if hint and not fault.advice else []))


def _refused(refused: Refused) -> tuple[int, str]:
    if refused.status == 429 and refused.error != "quota_exceeded":
        return REMOTE, "too many ask the broker at once; ask again later"  # API Gateway's own limit, no grant's
    if refused.error == "quota_exceeded":
        return QUOTA, f"it opens again in {refused.retry_after} s" if refused.retry_after is not None else "ask later"
    if refused.status >= 500:
        return REMOTE, "the broker is ill: nothing was issued; ask again later"
    return REFUSED, ""
