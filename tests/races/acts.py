"""What many do at once, each through a verb of its own with real tokens, or at a port where no verb is needed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chalicelib.errors import Refusal
from chalicelib.exchange.ledger import Pin
from chalicelib.quota import Limit
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, grant, issuance, jti_of, policy
from tests.races.actor import Actor, idempotency_key, keys_in
from tests.races.faults import FaultyEdgeState, FaultyLedger


@dataclass(frozen=True)
class Call:
    """One call at the edge with one of these tokens."""

    directory: Path
    tokens: tuple[str, ...]

    def __call__(self, adapters: Adapters) -> str:
        """Return "admitted", or raise Refusal."""
        actor = Actor.over(adapters, keys_in(self.directory))
        actor.call(random.choice(self.tokens), NOW)
        return "admitted"


@dataclass(frozen=True)
class FaultyCall(Call):
    """The same at a store that fails now and then."""

    def __call__(self, adapters: Adapters) -> str:
        """Return "admitted", the refusal's reason, or where it failed."""
        actor = Actor(keys_in(self.directory), FaultyEdgeState(adapters.edge_state), adapters.ledger)
        return _once(lambda: actor.call(random.choice(self.tokens), NOW), "admitted")


@dataclass(frozen=True)
class Exchange:
    """One exchange of an identity token that nobody else has."""

    directory: Path
    subject: str = "build-1"

    def __call__(self, adapters: Adapters) -> str:
        """Return "issued", or raise Refusal."""
        actor = Actor.over(adapters, keys_in(self.directory))
        actor.exchange(actor.subject_token(self.subject, NOW), NOW, idempotency_key=idempotency_key())
        return "issued"


@dataclass(frozen=True)
class FaultyExchange(Exchange):
    """The same at a store that fails now and then."""

    def __call__(self, adapters: Adapters) -> str:
        """Return "issued", the refusal's reason, or where it failed."""
        actor = Actor(keys_in(self.directory), adapters.edge_state, FaultyLedger(adapters.ledger))
        return _once(lambda: actor.exchange(actor.subject_token(self.subject, NOW), NOW), "issued")


def _once(act: Callable[[], object], done: str) -> str:
    """Do it once; a store that is busy of itself has done nothing, so that does not count."""
    try:
        act()
    except Refusal as refusal:
        if refusal.reason == "state_unavailable":
            raise
        return refusal.reason
    return done


@dataclass(frozen=True)
class SameExchange:
    """One exchange of the one identity token that everybody has. idempotency_key: "" for a request without one."""

    directory: Path
    subject_token: str
    idempotency_key: str

    def __call__(self, adapters: Adapters) -> str:
        """Return the `jti` that was issued, or raise Refusal."""
        actor = Actor.over(adapters, keys_in(self.directory))
        return jti_of(actor.exchange(self.subject_token, NOW, idempotency_key=self.idempotency_key))


class Apply:
    """One attempt to put a policy in force in place of version 0."""

    def __call__(self, adapters: Adapters) -> str:
        """Return the text that was put in force."""
        mine = samples.new_id()
        return adapters.control.apply(policy(grant(mine)), mine, 0, samples.event("policy.applied")).text


class FirstUse:
    """One issuance to a role whose unique id is another one each time."""

    def __call__(self, adapters: Adapters) -> str:
        """Return the unique id that was bound."""
        mine = samples.new_id()
        adapters.ledger.issue(replace(issuance(Limit(1000, "day")), pin=Pin("arn:aws:iam::1:role/app", mine)), NOW)
        return mine
