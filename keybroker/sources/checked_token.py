"""Is this text an identity token at all? What only the broker can know is left to the broker."""

from __future__ import annotations

import re

from keybroker.errors import IdentityError

LIMIT = 16 * 1024
"""Characters of an identity token at most, as the broker has it."""
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


def checked_token(text: str, source: str) -> str:
    """Return the token that a source gave, without the white space around it.

    source: where it is from, for the error, which never quotes it. Raises IdentityError: empty, too long, or no JWT.
    """
    token = text.strip()
    if not token:
        raise IdentityError(f"{source} is empty; it must hold an identity token (a JWT)")
    if len(token) > LIMIT:
        raise IdentityError(
            f"{source} holds {len(token)} characters; a broker reads identity tokens of at most {LIMIT}"
        )
    if not _JWT.fullmatch(token):
        raise IdentityError(f"{source} holds no identity token: a JWT is three parts of base64url with dots between")
    return token
