"""Taking it back: what can be stopped, by blocks and epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from chalicelib.audit import Event

SCOPES = ("everything", "issuer", "key", "grant", "principal", "token")
"""What a revocation can name. The first five have an epoch in every token, in this order."""

EPOCHS = SCOPES[:5]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be stopped. id: `*` for everything, a URL, a name, a `sub` or a `jti`."""

    scope: str
    id: str


EVERYTHING = Thing("everything", "*")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a thing stands. blocks: revocation id -> its end in epoch seconds, None for no end. epoch only ever grows.

    A thing never revoked stands at epoch 0 without blocks. config is what administrators stored for it, None if
    nothing: an issuer, key or grant without config does not exist.
    """

    epoch: int = 0
    blocks: tuple[tuple[str, int | None], ...] = ()
    config: Mapping[str, Any] | None = None

    def blocked(self, now: int) -> bool:
        """Whether a block is in force at `now`."""
        return any(until is None or now < until for _, until in self.blocks)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One act of taking back. at, until, lifted_at: epoch seconds."""

    id: str
    scope: str
    target: str
    reason: str
    author: str
    at: int
    until: int | None = None
    lifted_at: int | None = None
    lifted_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return asdict(self)


def detail(revocation: Revocation) -> dict[str, str]:
    """Return what the audit says of a revocation, when it is made and when it is lifted."""
    return {
        "revocation": revocation.id,
        "scope": revocation.scope,
        "target": revocation.target,
        "why": revocation.reason,
    }


class Revocations(Protocol):
    """Where revocations are put in force."""

    def revoke(self, revocation: Revocation, event: Event) -> None:
        """Block the thing and raise its epoch by one, with the audit event, in one transaction.

        When it returns, the revocation is in force; one of this id that was made before changes nothing. Raises Refusal
        `no_such_thing` for an issuer, key or grant that never was, Unavailable: it is not in force, repeat it.
        """

    def lift(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """End one revocation's block and keep the epoch, with the audit event, in one transaction; None if unknown.

        The event's time is the time of lifting; what was revoked is added to it. Lifting twice changes nothing. Raises Unavailable: nothing was lifted.
        """


@dataclass(frozen=True, slots=True)
class Stop:
    """What stops a call: a block in force, or an epoch that has moved on since the token was issued."""

    scope: str
    blocked: bool


def stopped(things: Mapping[str, Standing], epochs: Mapping[str, int], now: int) -> Stop | None:
    """Return what stops a call at `now`, blocks before epochs, or None.

    things: the standing of each scope's thing. epochs: what the token carries for them; a token itself is at 0.
    """
    for scope in SCOPES:
        if scope not in things or things[scope].blocked(now):
            return Stop(scope, blocked=True)
    for scope in SCOPES:
        if things[scope].epoch != epochs.get(scope, -1):
            return Stop(scope, blocked=False)
    return None
