"""The calls that an edge refused of late, kept so that one is found again by the request id that its caller was shown."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple, Protocol

from chalicelib.errors import Refusal

KEPT_SECONDS: Final = 86400
"""For which a refused call is kept at most."""
MOST: Final = 20_000
"""Refused calls that are kept at most; the oldest go first."""
MOST_OF_ONE: Final = 1_000
"""Those of one principal at most, or of all callers that were not verified."""


class RefusedCall(NamedTuple):
    """What the log's line says of it, and no more. What was not verified when it was refused is ""."""

    at: int
    """Epoch seconds."""
    request_id: str
    reason: str
    status: int
    """HTTP's, or of a call that was already under way what it would have been."""
    key: str = ""
    grant: str = ""
    principal: str = ""
    jti: str = ""
    cause: str = ""
    """By which word AWS refused us, if it did."""
    under_way: bool = False
    """Whether it had been admitted, and was ended: the provider may have been at work."""

    @classmethod
    def of(cls, request_id: str, refusal: Refusal, at: int, *, under_way: bool = False) -> RefusedCall:
        """Return what is kept of a refusal. at: epoch seconds."""
        # SECURITY: these members alone, never the refusal's text or headers (test_nothing_of_a_token_is_kept).
        fields = refusal.log_fields()
        named = {name: fields.get(name, "") for name in ("key", "grant", "principal", "jti", "cause")}
        return cls(at, request_id, refusal.reason, refusal.status, under_way=under_way, **named)

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored and answered."""
        return self._asdict()


class RefusedCalls(Protocol):
    """Where they are kept. Methods raise Unavailable."""

    def keep(self, refused: Collection[RefusedCall]) -> None:
        """Keep these; of one request the first is kept. What is beyond a bound goes."""

    def refused_call(self, request_id: str, now: int) -> RefusedCall | None:
        """Return the one of a request, None if none is kept. now: epoch seconds."""
