"""Which tokens of a principal are alive: issued, not expired, and still admitted by what the edge asks the state."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from chalicelib.admin import impact
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event
from chalicelib.exchange import issued_under
from chalicelib.policy.compile import Policy
from chalicelib.revocation import EVERYTHING, RevocationState, RevocationTarget, stopped

LOOKED_UP: Final = 100
"""Tokens of which it is looked up whether each by itself was revoked, the newest; of more it is not known."""


class LiveTokens(NamedTuple):
    """The unexpired tokens of a principal."""

    alive: tuple[Event, ...]
    """Those that the edge would admit, as the events of their issuance, newest first."""
    ended: int
    """How many others it would refuse: revoked, from before a restore, of a signing key that is not live, or of no grant."""
    complete: bool
    """Whether all were found, and each was looked up."""


def of_principal(sub: str, policy: Policy | None, ports: AdminPorts, now: int) -> LiveTokens:
    """Return a principal's unexpired tokens; raises Unavailable. policy: the one in force, None if that cannot be read."""
    found = impact.live_tokens(RevocationTarget("principal", sub), ports.audit, now)
    kids = ports.signing_key_lists.signing_key_list().live
    state = _each_once(ports.revocations.revocation_state)
    good = [
        event
        for event in found.events
        if _of_policy(event, policy) and _is_accepted(event, kids) and _holds(event, state, now)
    ]
    revoked = {one.jti for one in good[:LOOKED_UP] if state(RevocationTarget("token", one.jti)).epoch}
    alive = tuple(event for event in good if event.jti not in revoked)
    return LiveTokens(alive, len(found.events) - len(alive), found.complete and len(good) <= LOOKED_UP)


def _each_once(read: Callable[[RevocationTarget], RevocationState]) -> Callable[[RevocationTarget], RevocationState]:
    """Return what reads each target once for this answer: most tokens of a principal name the same."""
    found: dict[RevocationTarget, RevocationState] = {}

    def state(target: RevocationTarget) -> RevocationState:
        if target not in found:
            found[target] = read(target)
        return found[target]

    return state


def _of_policy(event: Event, policy: Policy | None) -> bool:
    """Whether the token's grant is there, for the same key and issuer."""
    grant = policy.grants.get(event.grant) if policy else None
    return policy is None or (grant is not None and (grant.key, grant.issuer) == (event.key, event.issuer))


def _is_accepted(event: Event, kids: Collection[str]) -> bool:
    """Whether the key that signed the token is live; of an event that does not say which it was, it is taken to be."""
    under = issued_under.read(event)
    return under is None or under.kid in kids


def _holds(event: Event, state: Callable[[RevocationTarget], RevocationState], now: int) -> bool:
    """Whether nothing wider than the token itself stops it, as the edge decides it."""
    named = {"issuer": event.issuer, "key": event.key, "grant": event.grant, "principal": event.principal}
    targets = (EVERYTHING, *(RevocationTarget(scope, name) for scope, name in named.items()))
    states = {**{one.scope: state(one) for one in targets}, "token": RevocationState()}
    under = issued_under.read(event)
    # SECURITY: what an event does not say tells nothing against its token: none is called ended that may be alive
    # (test_an_event_without_epochs_is_alive).
    epochs = under.epochs if under else {scope: one.epoch for scope, one in states.items()}
    return stopped(states, {**epochs, "token": 0}, now) is None
