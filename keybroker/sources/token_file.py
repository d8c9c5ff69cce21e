"""A file with an identity token, read anew each time: its writer (kubelet, an agent) rotates it."""

from __future__ import annotations

from pathlib import Path

from keybroker.errors import IdentityError
from keybroker.sources import environment
from keybroker.sources.identity_request import LIMIT, IdentityRequest, check_token

VARIABLE = "KEYBROKER_ID_TOKEN_FILE"


def find(request: IdentityRequest) -> str | None:
    """Return the token in the file that KEYBROKER_ID_TOKEN_FILE names, None if it is unset; raises IdentityError."""
    path = request.environ.get(VARIABLE)
    if path is None:
        return None
    if environment.VARIABLE in request.environ:
        raise IdentityError(f"{environment.VARIABLE} and {VARIABLE} are both set; unset one of them")
    if not path:
        raise IdentityError(f"{VARIABLE} is set but empty; set it to a file's path or unset it")
    return read_token(Path(path), f"the file {path} ({VARIABLE})")


def read_token(path: Path, name: str) -> str:
    """Return the token in a file. name: what the error calls it. Raises IdentityError."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 2)  # the longest token and a line end, never a whole endless file
    except OSError as error:
        raise IdentityError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error
    return check_token(content.decode("utf-8", "replace"), name)
