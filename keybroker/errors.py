"""What can go wrong when a broker is asked for a token.

KeybrokerError
  Refused       the broker was reached and said no; asking again in the same way is useless unless retry_after is set
  Unreachable   no broker's answer came back in time; whether a token was issued is unknown
"""

from __future__ import annotations


class KeybrokerError(Exception):
    """Whatever went wrong between this program and the broker. The text never holds a token."""


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
        return f"{self.error}{why}{request}"


class Unreachable(KeybrokerError):  # noqa: N818  beside Refused
    """No broker's answer: no connection, no answer in time, or an answer that no broker gives.

    If the request had left, a token may have been issued and the identity token be used up; a repetition with the same
    `idempotency_key` gets that token, one without is refused as a replay.
    """
