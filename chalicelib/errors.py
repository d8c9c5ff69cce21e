"""Every "no" of Keybroker.

Refusal          a "no" to a caller: audit reason, OAuth code, HTTP status, text that is safe to show
  Unavailable    a "no" because state, keys or audit are out of reach: 503, nothing was admitted
TokenInvalid     a token that does not verify; the verbs turn it into a bare Refusal
PolicyInvalid    (policy/compile.py) a policy file with faults
"""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):  # noqa: N818  the product's word for a "no"; it is not always a fault
    """A "no" to one caller.

    reason: what the audit and the log say, a fixed word such as `quota_tokens`; never shown before verification.
    error: the code for the caller (RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 6750 section 3.1).
    status: the HTTP status. description: text for the caller; holds the caller's own values only.
    retry_after: seconds until a retry can succeed, where time alone helps; None where it does not.
    about: who and what was refused, for the log, once that is verified. headers: what goes with the answer.
    """

    def __init__(
        self, reason: str, error: str, status: int, description: str = "", *, retry_after: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.status = status
        self.description = description
        self.retry_after = retry_after
        self.about: dict[str, str] = {}
        self.headers: Mapping[str, str] = {}


class Unavailable(Refusal):
    """State, keys or audit could not be reached in time. Nothing was admitted or issued; the caller may retry."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            reason, "temporarily_unavailable", 503, "the broker cannot decide just now; try again", retry_after=1
        )


def cause(refusal: Refusal) -> Mapping[str, str]:
    """Return for the log by which word AWS refused us, e.g. `AccessDeniedException`; nothing if it was not AWS.

    Never its text, which can quote what was sent.
    """
    answer = getattr(refusal.__cause__, "response", None)
    error = answer.get("Error", {}) if isinstance(answer, Mapping) else {}
    code = error.get("Code") if isinstance(error, Mapping) else None
    return {"cause": code} if isinstance(code, str) and code.isalnum() and len(code) <= 64 else {}


class TokenInvalid(Exception):  # noqa: N818  named like RFC 6750's invalid_token
    """A token that does not verify. `reason` is a fixed word for the log; callers are told nothing but "invalid"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
