"""The exchange's state: what is read before a token is issued, and what is written with it, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chalicelib import quota
from chalicelib.audit import Audit, Event
from chalicelib.exchange.errors import Replayed, TokensUsedUp
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import KeyConfig
from chalicelib.quota import Counter, Limit
from chalicelib.revocation import RevocationState, RevocationTarget
from chalicelib.tokens.verify import LEEWAY

REPLAY_MARGIN = LEEWAY
"""Seconds a replay lock outlives the subject token's expiry and leeway."""


@dataclass(frozen=True, slots=True)
class StateQuery:
    """What an exchange reads before it decides anything."""

    targets: tuple[RevocationTarget, ...]
    """Everything, the issuer, the key, and a principal for each `sub` the caller may turn out to have."""
    issuer: str
    """The issuer's URL, whose grants are candidates."""
    key: str
    """The key's name, whose grants are candidates."""
    grant: str | None
    """The only candidate's name, None for all grants of this issuer and key."""
    now: int
    """Epoch seconds: the windows in which tokens are counted."""

    def subs(self) -> tuple[str, ...]:
        """Return each `sub` the caller may turn out to have."""
        return tuple(target.id for target in self.targets if target.scope == "principal")


Candidates = tuple[tuple[Grant, RevocationState], ...]
"""Grants that may admit a caller, each with its state."""


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """What a StateQuery found."""

    states: Mapping[RevocationTarget, RevocationState]
    """The state of each target that was asked for."""
    issuer: Issuer | None
    """The issuer as the policy registers it, if it was among the targets. None if it does not, and for AWS."""
    key: KeyConfig | None
    """The key, if it was among the targets; None if the policy does not name it."""
    grants: Candidates | None
    """The named grant, or all of this issuer and key; None if there are too many to try."""
    taken: Mapping[Counter, int] = field(default_factory=dict)
    """How many tokens each `sub` was issued under these grants; a missing counter holds 0.

    For display only: the limit is enforced by the transaction.
    """
    signs: str = ""
    """The kid of the key that signs; "" for the one that the broker is configured with."""
    signing_keys: tuple[str, ...] = ()
    """The `kid`s of the signing keys whose tokens are accepted."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A replay lock: one subject token is exchanged once for each grant."""

    id: str
    """Hash of issuer, `jti` and grant."""
    expires: int
    """Epoch seconds after which the lock may be taken again."""
    idempotency: str
    """Hash of the Idempotency-Key, "" if the request had none."""
    request: str
    """Hash of who asked for what: with `idempotency` it tells a retry from a replay."""
    claims: Mapping[str, object]
    """The claims that were issued, for a retry."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A principal's unique id, bound at its first use: a role that is re-created under the same name has another."""

    principal: str
    unique_id: str


@dataclass(frozen=True, slots=True)
class Issuance:
    """What is written with a token, all of it or nothing. counters: each with its limits."""

    event: Event
    counters: tuple[tuple[Counter, tuple[Limit, ...]], ...]
    lock: Lock | None
    pin: Pin | None = None


class Ledger(Audit, Protocol):
    """The exchange's state. Every method raises Unavailable if state is out of reach: nothing was changed then.

    StateUncertain, where something may have been: a retry with the same Idempotency-Key gets it.
    """

    def find(self, query: StateQuery) -> ExchangeState:
        """Read everything an exchange depends on, in one consistent round trip, uncached."""

    def record(self, event: Event) -> None:
        """See `Audit.record`. A refused token is counted in the same transaction, in the counters of `refused_counters`."""

    def issue(self, issuance: Issuance, now: int) -> Mapping[str, object] | None:
        """Write an issuance in one transaction.

        Returns None when it is written; the claims issued before if it is a retry, and nothing is written then.
        Raises Replayed, TokensUsedUp or IdentityChanged, and nothing is written then.
        """


def retry(stored: Lock, request: Lock, now: int) -> Mapping[str, object]:
    """Return the claims issued before, if `request` is a retry of the one that took the lock; else raise Replayed.

    A retry has the same Idempotency-Key and asks for the same, before the issued token has expired.
    """
    same = stored.idempotency and (stored.idempotency, stored.request) == (request.idempotency, request.request)
    if same and int(str(stored.claims["exp"])) > now:
        return stored.claims
    raise Replayed


def refused_counters(event: Event) -> tuple[Counter, ...]:
    """Return the counters in which a refused token is counted, under its reason; none for any other event.

    Nor for a caller whose id is missing: all of an issuer's would be counted as one principal.
    """
    if event.kind != "token.refused" or not event.principal:
        return ()
    return quota.counters("tokens", event.grant, event.principal, event.at)


def over_quota(limits: Iterable[Limit], numbers: Mapping[str, int], now: int) -> None:
    """Raise TokensUsedUp if a token with these numbers, by window, exceeds a limit."""
    over = quota.exceeded(limits, numbers, now)
    if over:
        raise TokensUsedUp(over)


class Pins(Protocol):
    """Where unique ids are bound to principals."""

    def pin(self, principal: str, unique_id: str, event: Event) -> None:
        """Bind a principal to a unique id in place of any other, with the event; raises Unavailable."""
