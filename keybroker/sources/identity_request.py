"""What a source is asked for, and the check of what it returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keybroker.errors import IdentityError
from keybroker.sources.token_text import kind, unwrapped

TIMEOUT = 10.0
"""Seconds that a source waits for a response; several times what any of them takes."""
LIMIT = 16 * 1024
"""Characters of an identity token at most, as the broker has it."""
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class IdentityRequest:
    """A request for an identity token. audience: its `aud`. environ: the environment to look in."""

    audience: str
    environ: Mapping[str, str] = field(repr=False)


def check_token(text: str, source: str) -> str:
    """Return the token that a source gave, without what is often around one; only its form is checked.

    source: where it is from, for the error, which never quotes it. Raises IdentityError: empty, too long, or not a JWT.
    """
    token = unwrapped(text)
    if not token:
        raise IdentityError(f"{source} is empty; it must contain an identity token (a JWT)")
    if len(token) > LIMIT:
        raise IdentityError(f"{source} has {len(token)} characters; an identity token may have at most {LIMIT}")
    if not _JWT.fullmatch(token):
        what = kind(token) or "a JWT is three base64url segments separated by dots"
        raise IdentityError(f"{source} is not an identity token: {what}")
    return token
