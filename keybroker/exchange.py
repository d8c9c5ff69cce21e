"""Identity token -> token of the broker (RFC 8693)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from keybroker import bounded_http
from keybroker.bounded_http import Answer
from keybroker.errors import Refused, Unreachable
from keybroker.issued_token import Token

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


def exchange_token(  # noqa: PLR0913  the parameters of the request itself
    url: str,
    subject_token: str,
    audience: str,
    *,
    grant: str | None = None,
    scope: str | None = None,
    idempotency_key: str | None = None,
    timeout: float = 10.0,
) -> Token:
    """Exchange an identity token for a token that stands in for the provider's key; one request, no retry.

    url: the broker's, `https://…`. audience: the name of a key, e.g. `openai`. grant: needed where several match.
    scope: `METHOD:/path` values with spaces between, to get less than the grant allows. idempotency_key: 22 to 256
    random characters; a repetition that brings the same one is a retry, any other second use of the identity token is
    refused as a replay. timeout: seconds to connect, and again until the answer is there.

    Raises Refused: the broker said no. Unreachable: there was no broker's answer. ValueError: the URL is not usable.
    """
    fields = {
        "grant_type": _GRANT_TYPE,
        "subject_token": subject_token,
        "subject_token_type": _SUBJECT_TYPE,
        "audience": audience,
        "grant": grant,
        "scope": scope,
    }
    body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    answer = bounded_http.post(f"{url.rstrip('/')}/token", body, headers, timeout)
    if answer.status != 200:
        raise _refusal(answer)
    return _token(answer)


def _token(answer: Answer) -> Token:
    members = _members(answer)
    text, lives, scope, base_url = (members.get(name) for name in ("access_token", "expires_in", "scope", "base_url"))
    bearer = str(members.get("token_type", "")).lower() == "bearer"
    if not (bearer and text and isinstance(text, str) and isinstance(scope, str) and isinstance(base_url, str)):
        raise _unusable(answer)
    if type(lives) is not int or lives <= 0:
        raise _unusable(answer)
    return Token(access_token=text, expires_in=lives, scope=scope, base_url=base_url)


def _refusal(answer: Answer) -> Refused:
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
