"""A file with an identity token, read anew each time: its writer (kubelet, an agent) rotates it."""

from __future__ import annotations

import os
from pathlib import Path

from keybroker.encoding import decode
from keybroker.errors import IdentityError
from keybroker.sources import environment
from keybroker.sources.identity_request import LIMIT, IdentityRequest, check_token

VARIABLE = "KEYBROKER_ID_TOKEN_FILE"
_MOST = 4 * LIMIT
"""Bytes that are read: the longest token in the widest encoding, never a whole endless file."""


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
    """Return the token in a file. name: what the error calls it. Raises IdentityError, which holds none of its bytes."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise IdentityError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error
    if len(content) > _MOST:
        size_of_it = f"{size} bytes" if size > _MOST else f"more than {_MOST} bytes"
        raise IdentityError(f"{name} holds {size_of_it}; an identity token may have at most {LIMIT} characters")
    text = _text(content)
    if text is None:
        raise IdentityError(f"{name} is not an identity token: it is no text in UTF-8 or UTF-16")
    return check_token(text, name)


def _text(content: bytes) -> str | None:
    # SECURITY: no error, whose exception would hold the file (test_a_bad_token_file_is_named).
    try:
        return decode(content)
    except UnicodeDecodeError:
        return None
