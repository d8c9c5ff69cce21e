"""A file that holds an identity token, read anew each time: whoever writes it (kubelet, an agent) rotates it."""

from __future__ import annotations

from pathlib import Path

from keybroker.errors import IdentityError
from keybroker.sources import environment
from keybroker.sources.checked_token import LIMIT, checked_token
from keybroker.sources.wanted import Wanted

VARIABLE = "KEYBROKER_ID_TOKEN_FILE"


def find(wanted: Wanted) -> str | None:
    """Return the token of the file that KEYBROKER_ID_TOKEN_FILE names, None if it names none; raises IdentityError."""
    path = wanted.environ.get(VARIABLE)
    if path is None:
        return None
    if environment.VARIABLE in wanted.environ:
        raise IdentityError(f"{environment.VARIABLE} and {VARIABLE} are both set; unset one of them")
    if not path:
        raise IdentityError(f"{VARIABLE} is set, but empty; it must name a file, or be unset")
    return read(Path(path), f"the file {path} ({VARIABLE})")


def read(path: Path, named: str) -> str:
    """Return the token in a file. named: what the error calls it. Raises IdentityError."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 2)  # a token of the limit, a line's end, and no file without end
    except OSError as fault:
        raise IdentityError(f"{named} cannot be read: {fault.strerror or type(fault).__name__}") from fault
    return checked_token(content.decode("utf-8", "replace"), named)
