"""A call that is under way: what it stands on, and what ends it before its answer does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from chalicelib.edge.errors import InvalidToken, Revoked, SigningKeyGone, Stale
from chalicelib.edge.token import VerifiedToken
from chalicelib.policy.grants import Grant
from chalicelib.revocation import RevocationState, RevocationTarget, stopped


class Seen(NamedTuple):
    """What one round trip to state found for all calls that are under way."""

    states: Mapping[RevocationTarget, RevocationState]
    """Of each target that was asked for."""
    signing_keys: tuple[str, ...] = ()
    """The `kid`s of the signing keys whose tokens are accepted."""
    grants: Mapping[str, Grant] = MappingProxyType({})
    """By name, the grants that were asked for, as they are now; without those that are not there."""


class RunningState(Protocol):
    """Where is seen what has become of the calls under way. Nothing is counted."""

    def see(self, targets: Collection[RevocationTarget]) -> Seen:
        """Read targets, `EVERYTHING` among them, however many, in one round trip.

        Raises Unavailable if state is out of reach or anything was left unread.
        """


class RunningCall(NamedTuple):
    """A call that was admitted."""

    token: VerifiedToken
    """The token that it was admitted with."""
    key: str
    """The name of its key."""
    ends_with_token: bool = False
    """Whether the caller goes on asking, as on a WebSocket: it then has to have a token that is good."""

    def targets(self) -> Mapping[str, RevocationTarget]:
        """Return what a revocation can name to end it, by scope."""
        return self.token.targets(self.key)

    def about(self) -> Mapping[str, str]:
        """Name it for the log, as its refusal would have been named."""
        token = self.token
        return {"key": self.key, "grant": token.grant, "principal": token.principal, "jti": token.jti}

    def check_time(self, now: int) -> None:
        """Raise InvalidToken if it ends with its token and that has expired. now: epoch seconds."""
        if self.ends_with_token and now >= self.token.expires:
            raise InvalidToken("exp_past")

    def check(self, seen: Seen, now: int) -> None:
        """Raise Revoked, Stale or SigningKeyGone if it must not run on. now: epoch seconds.

        Neither a narrower grant nor a lower limit ends it: those are for the next call.
        """
        states = {scope: seen.states[one] for scope, one in self.targets().items() if one in seen.states}
        # SECURITY: what was not read blocks (test_what_was_not_seen_ends_a_call).
        stop = stopped(states, self.token.epochs, now)
        if stop is not None:
            raise Revoked(stop.scope) if stop.blocked else Stale(stop.scope)
        if self.token.kid not in seen.signing_keys:
            raise SigningKeyGone
