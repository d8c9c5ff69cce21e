"""Reads what a broker answers: a token, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping

from keybroker.bounded_http import Answer
from keybroker.errors import Refused, Unreachable
from keybroker.issued_token import Token


def token(answer: Answer) -> Token:
    """Return the token of an answer to a token request; raises Refused or Unreachable."""
    if answer.status != 200:
        raise refusal(answer)
    members = _members(answer)
    text, lives, scope, base_url = (members.get(name) for name in ("access_token", "expires_in", "scope", "base_url"))
    bearer = str(members.get("token_type", "")).lower() == "bearer"
    if not (bearer and text and isinstance(text, str) and isinstance(scope, str) and isinstance(base_url, str)):
        raise _unusable(answer)
    if type(lives) is not int or lives <= 0:
        raise _unusable(answer)
    return Token(access_token=text, expires_in=lives, scope=scope, base_url=base_url)


def refusal(answer: Answer) -> Refused:
    """Return the refusal that an answer is; raises Unreachable if it is none of a broker's."""
    members = _members(answer)
    error, description = members.get("error"), members.get("error_description", "")
    if not error or not isinstance(error, str) or not isinstance(description, str) or answer.status < 400:
        raise _unusable(answer)
    wait = answer.headers.get("retry-after", "")
    seconds = int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 10 else None
    return Refused(error, description, answer.status, answer.headers.get("x-request-id", ""), seconds)


def _members(answer: Answer) -> Mapping[str, object]:
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _unusable(answer) from None
    if not isinstance(members, dict):
        raise _unusable(answer)
    return members


def _unusable(answer: Answer) -> Unreachable:
    return Unreachable(f"the answer is not one of a broker's (HTTP {answer.status})")
