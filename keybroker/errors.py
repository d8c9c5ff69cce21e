"""What can go wrong when a broker is asked for a token.

KeybrokerError
  Refused         the broker was reached and said no; asking again in the same way is useless unless retry_after is set
  Unreachable     no broker's answer came back in time; whether a token was issued is unknown
  NoIdentity      nothing was found around this program that says who it is
  IdentityError   what should say who this program is was found, and is broken
  NotConfigured   what a person has to set is missing or cannot be used; also a ValueError
"""

from __future__ import annotations

BUSY = "temporarily_unavailable"
"""The code of a refusal that is about the broker's state and nothing else: 503, or 429 where AWS throttles."""


class KeybrokerError(Exception):
    """Whatever went wrong between this program and the broker. The text never holds a token.

    advice: what to do next, where a TokenProvider knows more than the error; the text ends with it.
    """

    advice: str = ""

    def __str__(self) -> str:
        return self._with_advice(super().__str__())

    def _with_advice(self, text: str) -> str:
        return f"{text}\n{self.advice}" if self.advice else text


class Refused(KeybrokerError):  # noqa: N818  the product's word for a "no"
    """The broker said no.

    error: OAuth's code (`invalid_grant`, `invalid_target`, `quota_exceeded` …). description: why, for people; may be
    empty. status: the HTTP status. request_id: finds the broker's audit event or log line; may be empty.
    retry_after: seconds until it is worth asking again, None where waiting does not help.
    """

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


class Unreachable(KeybrokerError):  # noqa: N818  beside Refused
    """No broker's answer: no connection, no answer in time, or an answer that no broker gives.

    If the request had left, a token may have been issued and the identity token be used up; a repetition with the same
    `idempotency_key` gets that token, one without is refused as a replay.
    """


class NoIdentity(KeybrokerError):  # noqa: N818  beside Refused
    """Nothing around this program says who it is. The text lists what was looked for, and how to give one."""


class IdentityError(KeybrokerError):
    """What should say who this program is, is there and broken. The text says what is missing and how to give it."""


class NotConfigured(KeybrokerError, ValueError):  # noqa: N818  beside Refused
    """A setting is missing or cannot be used, such as the broker's URL; the text names it."""
