"""The refusals of Keybroker: the base class, and those that several rooms share. docs/errors.md lists all of them.

Refusal                  a "no" to a caller: audit reason, OAuth code, HTTP status, text that is safe to show
  Unavailable            a "no" because state, keys or audit are out of reach: 503, nothing was admitted
InvalidTokenError        (tokens/errors.py) a token that does not verify; each verb turns it into a refusal of its own
InvalidPolicyError       (policy/faults.py) a policy file with faults
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Self

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Refusal(Exception):
    """A "no" to one caller. Each subclass is one refusal, and is never changed once it is made.

    On the class:
    reasons: what the audit and the log say, fixed words such as `quota_tokens`; never shown before verification.
    error: the code for the caller (RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 6750 section 3.1).
    statuses: the HTTP statuses; one, unless the framework answers for itself.
    text: what the caller is told, unless the instance says more.
    retryable: whether the same request can succeed later.

    On the instance:
    reason, status: one of the class's.
    description: text for the caller; holds the caller's own values only.
    retry_after: seconds until a retry can succeed, where time alone helps; None where it does not.
    about: who and what was refused, for the log, once that is verified.
    headers: what goes with the answer.
    """

    reasons: ClassVar[tuple[str, ...]] = ()
    error: ClassVar[str] = ""
    statuses: ClassVar[tuple[int, ...]] = ()
    text: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        reason: str | tuple[str, ...] = (),
        error: str = "",
        status: int | tuple[int, ...] = (),
        text: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init_subclass__()
        cls.reasons = ((reason,) if isinstance(reason, str) else reason) or cls.reasons
        cls.error = error or cls.error
        cls.statuses = ((status,) if isinstance(status, int) else status) or cls.statuses
        cls.text = text or cls.text
        cls.retryable = cls.retryable if retryable is None else retryable

    def __init__(  # noqa: PLR0913  each is given by name
        self,
        description: str = "",
        *,
        reason: str = "",
        status: int = 0,
        retry_after: int | None = None,
        about: Mapping[str, str] = _NONE,
        headers: Mapping[str, str] = _NONE,
    ) -> None:
        self.reason: Final = reason or self.reasons[0]
        super().__init__(self.reason)
        self.status: Final = status or self.statuses[0]
        self.description: Final = description or self.text
        self.retry_after: Final = retry_after
        self.about: Final = about
        self.headers: Final = headers

    def with_context(
        self, *, description: str = "", about: Mapping[str, str] = _NONE, headers: Mapping[str, str] = _NONE
    ) -> Self:
        """Return a new refusal that says the same and this as well; what is left out stays as it is."""
        new = type(self).__new__(type(self), *self.args)
        more = {"description": description, "about": about, "headers": headers}
        new.__dict__.update(self.__dict__ | {name: value for name, value in more.items() if value})
        return new

    def log_fields(self) -> Mapping[str, str]:
        """Return what the log says of it besides its reason: who and what was refused."""
        return self.about


class Unavailable(
    Refusal,
    error="temporarily_unavailable",
    status=503,
    text="the broker cannot decide just now; try again",
    retryable=True,
):
    """State, keys or audit could not be reached in time. Nothing was admitted or issued; the caller may retry.

    aws_code: the word by which AWS or its client refused us, e.g. `AccessDeniedException`, or why an issuer's keys are of
    no use, for the log. SECURITY: never AWS's text, which can quote what was sent (test_errors.py).
    hint: for an operator on one machine: what failed, and what to do about it. It is never sent to a caller.
    """

    def __init__(self, description: str = "", *, reason: str = "", aws_code: str = "", hint: str = "") -> None:
        super().__init__(description, reason=reason, retry_after=1 if self.retryable else None)
        self.aws_code: Final = aws_code
        self.hint: Final = hint

    def log_fields(self) -> Mapping[str, str]:
        """See `Refusal.log_fields`; also why AWS refused us."""
        return {**self.about, "cause": self.aws_code} if self.aws_code else self.about


class OperatorNeeded(
    Unavailable,
    text="the broker cannot decide until its operator mends it; trying again does not help, the log says why",
    retryable=False,
):
    """Nothing was admitted or issued, and the same request will not succeed until an operator has acted."""


class StateUnavailable(Unavailable, reason="state_unavailable"):
    """The state cannot be read or written in time. Retry."""


class StateUncertain(
    StateUnavailable,
    reason="state_uncertain",
    text="the state's answer was lost, so this may or may not be in force: look, or repeat it",
):
    """A write was sent and its answer was lost: it may or may not be in force. Look, or repeat it, which is safe."""


class StateUnread(Unavailable, reason="state_unread"):
    """A part of the state was left unread, and nothing is decided on the rest. Retry."""


class StateInconsistent(Unavailable, reason="state_inconsistent"):
    """A write failed although all that it depends on holds. Retry."""


class NotConfigured(OperatorNeeded, reason="not_configured"):
    """The function does not know its own configuration. The operator has to deploy it again (docs/deploy.md)."""


class MalformedRequest(Refusal, reason="malformed_request", error="invalid_request", status=400):
    """The request cannot be read; the text names the parameter or member at fault. Correct it."""


class BodyTooLarge(Refusal, reason="body_too_large", error="invalid_request", status=413):
    """The request's body is larger than this route takes. Send less."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is over {limit} bytes")


class NoSuchTarget(Refusal, reason="no_such_thing", error="not_found", status=404):
    """The policy never had an issuer, key or grant of this name, so it cannot be revoked. Check the spelling."""

    def __init__(self, scope: str, target_id: str) -> None:
        super().__init__(f"there is no {scope} of this name: {target_id[:100]!r}")


class InternalFault(
    Refusal, reason="fault_<Type>", error="server_error", status=500, text="something went wrong on our side"
):
    """A fault in Keybroker; the reason holds the exception's type, never its text. Report it with the request id."""

    def __init__(self, fault: Exception) -> None:
        # SECURITY: the fault's text may hold a token or a key (test_canary.py).
        super().__init__(reason=f"fault_{type(fault).__name__}")
