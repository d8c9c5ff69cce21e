"""How long a revocation takes until it holds, measured by a principal that exists for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from chalicelib.edge.errors import AddressRefused

NAME: Final = "revocation-probe"
"""Names a probe's principal, and the key and the grant of its tokens, which open nothing."""
ANSWER_BYTES: Final = 64 * 1024
"""Bytes of an answer that are read, at most."""
PROMISED_SECONDS: Final = 1.0
"""Seconds after its acknowledgement by which no call is admitted any more that came before (docs/concepts.md)."""
LONGEST_SECONDS: Final = 10.0
"""Seconds after which a probe gives up."""
PAUSE_SECONDS: Final = 0.005
"""Seconds between two calls of a probe."""
IN_A_ROW: Final = 3
"""Refusals that follow each other until a revocation counts as holding: each call may meet another process."""


class Seen(Enum):
    """What became of one call of a probe."""

    OPEN = "open"
    """It was not refused as revoked: it would be admitted, but for what the probe must not do."""
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """It was not answered, or with something else: 429, 503, no HTTP."""


_REFUSALS: Final = {(403, "revoked"), (401, "invalid_token"), (403, AddressRefused.error)}
"""What the edge says of a token that was revoked, while it is blocked and afterwards; of one whose grant is not there, or admits
no address that anybody calls from."""


def seen(status: int, body: bytes, scope: str) -> Seen:
    """Return what an answer of the edge says. scope: of the revocation that is measured."""
    try:
        refusal = json.loads(body)["error"]
        if (status, refusal["code"]) not in _REFUSALS:
            return Seen.UNKNOWN
        if f"({scope})" in refusal["message"]:
            return Seen.REVOKED
    except (ValueError, KeyError, TypeError, RecursionError):
        return Seen.UNKNOWN
    # Behind the text there is the request's id. Another refusal by the scope comes before anything was looked up.
    if refusal["code"] == AddressRefused.error and not refusal["message"].startswith(AddressRefused.text):
        return Seen.UNKNOWN
    return Seen.OPEN


class RevocationProbe(NamedTuple):
    """One measurement. Times but `at` are seconds."""

    where: str
    """Where it was made: `this machine`, `gateways in REGION`, or the `edge` of a stage in a region."""
    at: int
    """When, in epoch seconds."""
    outcome: str
    """`held` for calls from PROMISED_SECONDS on, `late`, `never` within LONGEST_SECONDS, or `unknown`: nothing could be told."""
    seconds: float | None
    """From the acknowledgement until the first of the refusals was there that nothing but refusals followed, so an upper
    bound, which has that call's own time in it; None if there was none."""
    open_after: int
    """Calls after the acknowledgement that were not refused as revoked."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored and answered."""
        return self._asdict()


class Steps(Protocol):
    """What a probe does. `revoke` raises Unavailable."""

    def call(self) -> Seen:
        """Make one call with a token of the probe's own, in bounded time."""

    def revoke(self) -> None:
        """Revoke what the probe's token has; returns once it is acknowledged."""


class RevocationProbes(Protocol):
    """Where the newest measurements are kept."""

    def revocation_probes(self) -> tuple[RevocationProbe, ...]:
        """Return the newest of each place; raises Unavailable."""


class Kept(Protocol):
    """Where the measurements of one place are kept. Its methods raise Unavailable."""

    @property
    def where(self) -> str:
        """See `RevocationProbe.where`."""

    def begin(self, now: int) -> bool:
        """Return whether a measurement is due, which is then this one's to make. now: epoch seconds."""

    def keep(self, probe: RevocationProbe) -> None:
        """Replace the last one."""


def measure(
    steps: Steps, where: str, now: int, monotonic: Callable[[], float], pause: Callable[[float], None]
) -> RevocationProbe:
    """Return how long it took until a revocation held. now: epoch seconds. Raises Unavailable if nothing was revoked."""
    if steps.call() is not Seen.OPEN:
        return RevocationProbe(where, now, "unknown", None, 0)
    steps.revoke()
    acknowledged = monotonic()
    began = answered = acknowledged
    refused, still_open, is_unknown = 0, 0, False
    while refused < IN_A_ROW:
        begins = monotonic()
        if begins - acknowledged > LONGEST_SECONDS:
            return RevocationProbe(where, now, "unknown" if is_unknown else "never", None, still_open)
        seen = steps.call()
        if seen is Seen.REVOKED:
            if not refused:
                began, answered = begins, monotonic()
            refused += 1
            continue
        # SECURITY: what is no refusal is never taken for one (test_what_is_not_known_is_not_held).
        refused, is_unknown = 0, seen is Seen.UNKNOWN
        still_open += seen is Seen.OPEN
        pause(PAUSE_SECONDS)
    # The promise is of calls by when they come; when a revocation began to hold is not known before an answer has come.
    outcome = "held" if began - acknowledged <= PROMISED_SECONDS else "late"
    return RevocationProbe(where, now, outcome, round(answered - acknowledged, 6), still_open)
