"""Revocation: what can be revoked, by a block for as long as it is in force and by an epoch for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from chalicelib.audit import Event  # the edge, which must start quickly, has no audit


SCOPES = ("everything", "issuer", "key", "grant", "principal", "token")
"""What a revocation can name. The first five have an epoch in every token, in this order."""

EPOCHS = SCOPES[:5]
# SECURITY: a misspelt name must not be answered "in force" (test_what_nobody_knows_cannot_be_revoked).
MUST_EXIST = frozenset({"issuer", "key", "grant"})
"""Scopes whose targets must have been named by a policy to be revoked.

The others are revoked unseen: a principal or a token may be about to call for the first time. The administration asks
first, `chalicelib.admin.seen`, unless its administrator says `unseen`.
"""
HOLDER = "holder-"
"""Prefix of the ids of revocations that a token's holder makes."""
TOKEN_REVOCATION_KEPT = 86400
"""Seconds that the revocation of a token is kept. A token lives an hour at most, and its id is never used again."""


class RevocationTarget(NamedTuple):
    """What a revocation names."""

    scope: str
    """One of SCOPES."""
    id: str
    """`*` for everything, an issuer's URL, a key's or grant's name, a principal's `sub`, a token's `jti`."""


EVERYTHING = RevocationTarget("everything", "*")


class RevocationState(NamedTuple):
    """Whether a target is blocked, and its epoch. One that was never revoked has epoch 0 and no blocks."""

    epoch: int = 0
    """Counts its revocations; it only ever grows. A token that states another epoch is refused."""
    blocks: tuple[tuple[str, int | None], ...] = ()
    """For each block the revocation's id and its end in epoch seconds, None for no end."""

    def blocked(self, now: int) -> bool:
        """Whether a block is in force at `now`."""
        return bool(self.blocks) and any(until is None or now < until for _, until in self.blocks)


class Revocation(NamedTuple):
    """One revocation, and how it ended. Times are epoch seconds."""

    id: str
    """Unique; the same request sent again has the same."""
    scope: str
    """One of SCOPES."""
    target: str
    """What was revoked: the target's id."""
    reason: str
    """Why, in the author's words."""
    author: str
    """The administrator, or the `sub` of the token's holder."""
    at: int
    """When it was made."""
    until: int | None = None
    """When its block ends by itself; None if it does not."""
    lifted_at: int | None = None
    """When it was restored; None if it was not."""
    lifted_by: str | None = None
    """The administrator who restored it."""

    def to_json(self) -> dict[str, Any]:
        """Return the form that the admin API answers."""
        return self._asdict()

    @classmethod
    def by_holder(cls, jti: str, sub: str, now: int) -> Revocation:
        """Return the revocation of a token by its holder; the same one however often it is asked for."""
        return cls(HOLDER + jti, "token", jti, "revoked by its holder", sub, now)

    def in_force(self, now: int) -> bool:
        """Whether its block is in force at `now`."""
        return self.lifted_at is None and (self.until is None or now < self.until)

    def same_request(self, other: Revocation) -> bool:
        """Whether both ask for the same, so that one may be the other sent again."""
        mine, theirs = ((one.scope, one.target, one.reason, one.author, one.until) for one in (self, other))
        return mine == theirs


class RevocationPage(NamedTuple):
    """Revocations, newest first, and the cursor of the next page ("" at the end)."""

    revocations: tuple[Revocation, ...]
    next: str

    @classmethod
    def from_newest(cls, found: Sequence[Revocation], limit: int) -> RevocationPage:
        """Return a page. found: newest first, one more than `limit` if there is a next page."""
        shown = tuple(found[:limit])
        return cls(shown, f"{shown[-1].at}#{shown[-1].id}" if len(found) > limit else "")


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return the time and id that a page's revocations come before; raises ValueError for a malformed cursor."""
    if not cursor:
        return 2**53, ""
    at, mark, last = cursor.partition("#")
    if not mark or not last or len(cursor) > 200 or not (at.isascii() and at.isdecimal() and len(at) < 17):
        raise ValueError("not a cursor of the revocations")
    return int(at), last


def detail(revocation: Revocation) -> dict[str, str]:
    """Return what the audit says of a revocation, when it is made and when it is restored."""
    return {
        "revocation": revocation.id,
        "scope": revocation.scope,
        "target": revocation.target,
        "why": revocation.reason,
    }


class Revocations(Protocol):
    """Where revocations are put in force."""

    def revoke(self, revocation: Revocation, event: Event) -> Revocation:
        """Block the target and raise its epoch by one, with the audit event, in one transaction.

        When it returns, the revocation is in force. If one of this id was made before, nothing changes, and that one is
        returned. Raises NoSuchTarget for an issuer, key or grant that never was; Unavailable: it is not in force,
        repeat it; StateUncertain: it may be.
        """

    def restore(self, revocation_id: str, author: str, event: Event) -> Revocation | None:
        """End one revocation's block and keep the epoch, with the audit event, in one transaction; None if unknown.

        The event's time is when it was restored; what was revoked is added to it. Restoring twice changes nothing.
        Raises Unavailable: nothing was restored; StateUncertain: it may be.
        """

    def revocations(self, scope: str, after: str, limit: int) -> RevocationPage:
        """Return revocations of one scope, or of every scope but `token` for "", newest first.

        Holders revoke tokens in large numbers, so those are listed by name only. Raises Unavailable; ValueError for a
        malformed cursor.
        """

    def revocation(self, revocation_id: str) -> Revocation | None:
        """Return the revocation of this id, None if there is none; raises Unavailable."""

    def revocation_state(self, target: RevocationTarget) -> RevocationState:
        """Return a target's state; raises Unavailable."""

    def exists(self, target: RevocationTarget) -> bool:
        """Whether anything was ever stored for a target: what makes one of MUST_EXIST revocable. Raises Unavailable."""


class Stop(NamedTuple):
    """What stops a call: a block in force, or an epoch that has moved on since the token was issued."""

    scope: str
    blocked: bool


def stopped(states: Mapping[str, RevocationState], epochs: Mapping[str, int], now: int) -> Stop | None:
    """Return what stops a call at `now`, blocks before epochs, or None.

    states: by scope; one that is missing blocks. epochs: by scope, as the token states them; a token itself is at 0.
    """
    stale: Stop | None = None
    for scope in SCOPES:
        state = states.get(scope)
        if state is None or (state.blocks and state.blocked(now)):
            return Stop(scope, blocked=True)
        if stale is None and state.epoch != epochs.get(scope, -1):
            stale = Stop(scope, blocked=False)
    return stale
