"""What every provider's exchange has in common: how it is asked, and what its answer is taken for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode

from chalicelib import strict_json
from chalicelib.issuers.errors import FetchError

ASK_SECONDS: Final = 10.0
"""Seconds that one request to a provider may take."""
SHORTEST: Final = 120
"""Seconds that a credential must live to be of use: a shorter one would be replaced all the time."""
_DENIED: Final = frozenset({400, 401, 403, 404, 409, 413, 422})
_VALUE: Final = re.compile(r"[\x21-\x7e]{16,16384}")
_WORD: Final = re.compile(r"[a-z][a-z_]{0,39}|[A-Z][A-Z_]{0,39}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_REQUEST_IDS: Final = ("request-id", "x-request-id", "x-ms-request-id", "x-github-request-id")
_LONGEST_WAIT: Final = 3600

GRANT_JWT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANT_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TYPE_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"


class Answer(NamedTuple):
    """An HTTP answer. headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class MintError(Exception):
    """No credential was had. problem: a fixed word, or one of the provider's own; never a text of its answer.

    denied: whether the provider said no, which asking again will not change; else it was away. retry_after: seconds that it
    asked to wait for, 0 if it did not. request_id: the provider's, "" if it gave none.
    """

    def __init__(self, problem: str, *, denied: bool = False, retry_after: int = 0, request_id: str = "") -> None:
        super().__init__(problem)
        self.problem, self.denied = problem, denied
        self.retry_after, self.request_id = retry_after, request_id


class Minted:
    """A credential that a provider gave. Not a tuple, whose members `%` and JSON would show."""

    __slots__ = ("beside", "expires", "request_id", "value")

    def __init__(
        self, value: str, expires: int, beside: tuple[tuple[str, str], ...] = (), request_id: str = ""
    ) -> None:
        """Take it. expires: epoch seconds. beside: see `ProviderKey`."""
        self.value, self.expires, self.beside, self.request_id = value, expires, beside, request_id

    def __repr__(self) -> str:
        # SECURITY: credentials redact themselves (test_a_minted_value_is_in_no_repr).
        return f"Minted(expires={self.expires!r}, value=***)"


class Means(Protocol):
    """With what a credential is asked for. Methods raise MintError, or Unavailable where something of ours is out of reach."""

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, within: float) -> Answer:
        """Make one request of bounded time and size, which follows no redirect; raises FetchError."""

    def assertion(self, audience: str, life: int, algorithms: Sequence[str]) -> str:
        """Return a fresh assertion of who asks. life: seconds. algorithms: those that the provider takes."""

    def app_token(self, claims: Mapping[str, object]) -> str:
        """Return claims signed (RS256) with the key of the App that the key's account is."""

    def bedrock_token(self, region: str, role: str, life: int) -> tuple[str, int]:
        """Return a bearer token for Bedrock and when it ends. role: to assume first, "" for none. life: seconds."""


def post_json(means: Means, url: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Answer:
    """Post a JSON body; raises MintError unless the answer is a success."""
    sent = {"content-type": "application/json", **(headers or {})}
    return request(means, "POST", url, sent, json.dumps(body).encode())


def post_form(means: Means, url: str, fields: Mapping[str, str]) -> Answer:
    """Post a form; raises MintError unless the answer is a success."""
    return request(
        means, "POST", url, {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()
    )


def request(means: Means, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Make a request; raises MintError unless the answer is a success."""
    try:
        answer = means.ask(
            method, url, {"accept": "application/json", "user-agent": "keybroker", **headers}, body, ASK_SECONDS
        )
    except FetchError as fault:
        raise MintError(str(fault)) from None
    if not 200 <= answer.status < 300:
        wait = answer.headers.get("retry-after", "")
        raise MintError(
            _word(answer) or f"status_{answer.status}",
            denied=answer.status in _DENIED,
            retry_after=min(int(wait), _LONGEST_WAIT) if wait.isascii() and wait.isdecimal() and len(wait) < 6 else 0,
            request_id=request_id(answer),
        )
    return answer


def document(answer: Answer) -> Mapping[str, Any]:
    """Return the JSON object of an answer; raises MintError for anything else."""
    try:
        found = strict_json.parse(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        # SECURITY: no cause, since a JSON error holds the whole text (test_what_a_provider_answers_is_never_quoted).
        raise MintError("malformed", request_id=request_id(answer)) from None
    return found


def oauth_credential(answer: Answer, now: int, longest: int, beside: tuple[tuple[str, str], ...] = ()) -> Minted:
    """Return what an OAuth token endpoint gave (RFC 6749, section 5.1). longest: seconds that are believed at most."""
    found = document(answer)
    life = found.get("expires_in")
    if str(found.get("token_type", "")).lower() != "bearer" or not isinstance(life, int) or isinstance(life, bool):
        raise MintError("malformed", request_id=request_id(answer))
    return credential(found.get("access_token"), now + min(life, longest), now, answer, beside)


def credential(
    value: object, expires: int, now: int, answer: Answer, beside: tuple[tuple[str, str], ...] = ()
) -> Minted:
    """Return a credential; raises MintError if it cannot stand in a header, or ends too soon to be of use."""
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise MintError("malformed", request_id=request_id(answer))
    if expires - now < SHORTEST:
        raise MintError("life_too_short", denied=True, request_id=request_id(answer))
    return Minted(value, expires, beside, request_id(answer))


def request_id(answer: Answer) -> str:
    """Return the provider's own id of a request, "" if it gave none that can be shown."""
    found = next((answer.headers[name] for name in _REQUEST_IDS if name in answer.headers), "")
    return found if _REQUEST_ID.fullmatch(found) else ""


def _word(answer: Answer) -> str:
    """Return the code of an OAuth error, of Anthropic's, Google's or Entra's; "" for what is no plain word."""
    try:
        found = strict_json.parse(answer.body)
    except ValueError:
        return ""
    error = found.get("error") if isinstance(found, Mapping) else None
    word = error.get("type", error.get("status")) if isinstance(error, Mapping) else error
    described = str(found.get("error_description", "")) if isinstance(found, Mapping) else ""
    entra = re.match(r"AADSTS[0-9]{1,9}", described)
    if entra:
        return entra.group()
    # SECURITY: a code and no text, which may quote what was sent (test_what_a_provider_answers_is_never_quoted).
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""
