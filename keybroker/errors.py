"""What can go wrong between this program and the broker.

KeybrokerError
  Refused         the broker said no; repeating the request is useless unless retry_after is set
  Unreachable     no response from the broker; whether a token was issued is unknown
  NoIdentity      no workload identity was found
  IdentityError   an identity source was found, but is broken
  NotConfigured   a setting is missing or cannot be used; also a ValueError
"""

from __future__ import annotations

BUSY = "temporarily_unavailable"
"""The error code of refusals that are about the broker's load alone: 503, or 429 where AWS throttles."""


class KeybrokerError(Exception):
    """The base class of all errors here. The text never holds a token.

    advice: what to do next, where a TokenProvider knows more than the error; the text ends with it.
    """

    advice: str = ""

    def __str__(self) -> str:
        return self._with_advice(super().__str__())

    def _with_advice(self, text: str) -> str:
        return f"{text}\n{self.advice}" if self.advice else text


class Refused(KeybrokerError):
    """The broker said no.

    error: the OAuth error code (`invalid_grant`, `invalid_target`, `quota_exceeded` …).
    description: why, for people; may be empty.
    status: the HTTP status.
    request_id: finds the broker's audit event or log line; may be empty.
    retry_after: seconds until a retry makes sense, None where waiting does not help.
    permanent: the broker says that no retry can succeed until its operator has acted.
    """

    permanent: bool = False

    def __init__(self, error: str, description: str, status: int, request_id: str, retry_after: int | None) -> None:
        super().__init__(error, description, status, request_id, retry_after)
        self.error = error
        self.description = description
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        why = f": {self.description}" if self.description else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        return self._with_advice(f"{self.error}{why}{request}")


class Unreachable(KeybrokerError):
    """No response from the broker: no connection, a timeout, or a response that is not a broker's.

    If the request was sent, a token may have been issued and the identity token used up; a repetition with the same
    `idempotency_key` gets that token, one without is refused as a replay.

    status: of a response that is not a broker's, as a load balancer's 503; None where there was none.
    retry_after: seconds that such a response asked to wait for.
    """

    status: int | None = None
    retry_after: int | None = None


class NoIdentity(KeybrokerError):
    """No workload identity was found. The text lists the sources that were tried."""


class IdentityError(KeybrokerError):
    """An identity source is present but broken. The text says what is missing and how to provide it."""


class NotConfigured(KeybrokerError, ValueError):
    """A setting is missing or cannot be used, such as the broker URL; the text names it."""
