"""What processes do when they are killed: both verbs and what administrators write, every port's call a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalicelib.edge import admission
from chalicelib.exchange import exchange as exchange_verb
from chalicelib.exchange.exchange import Broker
from chalicelib.exchange.request import TokenRequest
from chalicelib.issuers.aws import AwsIdentity
from chalicelib.policy.compile import Policy
from chalicelib.revocation import Revocation
from tests.contracts import samples
from tests.contracts.adapters import Adapters
from tests.contracts.samples import NOW, new_id
from tests.contracts.verbs import Keys
from tests.races.actor import Actor, call_with
from tests.races.dying import Steps


def broker(adapters: Adapters, keys: Keys, steps: Steps) -> Broker:
    """Return a broker whose ports' calls are steps."""
    real = Actor.over(adapters, keys).broker
    return replace(
        real,
        ledger=steps.around("ledger", real.ledger),
        keys=steps.around("keys", real.keys),
        signer=steps.around("signer", real.signer),
    )


@dataclass(frozen=True)
class Exchange:
    """One exchange of an identity token."""

    subject_token: str
    idempotency_key: str

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return the token."""
        request = Actor.over(adapters, keys).request(self.subject_token, self.idempotency_key)
        return exchange_verb.exchange(request, broker(adapters, keys, steps), NOW, new_id).access_token


@dataclass(frozen=True)
class ExchangeIam:
    """One exchange of an AWS role that is seen for the first time."""

    identity: AwsIdentity
    idempotency_key: str

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return the token."""
        request = TokenRequest("", "openai", new_id(), grant="role", idempotency_key=self.idempotency_key or None)
        found = exchange_verb.exchange_iam(request, self.identity, broker(adapters, keys, steps), NOW, new_id)
        return found.access_token


@dataclass(frozen=True)
class Call:
    """One call at the edge."""

    token: str

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return "admitted"."""
        real = Actor.over(adapters, keys).edge
        edge = replace(
            real,
            state=steps.around("edge_state", real.state),
            signing_keys=steps.around("keys", real.signing_keys),
        )
        admission.admit(call_with(self.token), edge, NOW)
        return "admitted"


@dataclass(frozen=True)
class Revoke:
    """One revocation."""

    revocation: Revocation

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return "revoked"."""
        del keys
        steps.around("control", adapters.control).revoke(self.revocation, samples.event("revocation.made"))
        return "revoked"


@dataclass(frozen=True)
class Lift:
    """The end of a revocation's block."""

    revocation: Revocation

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return "lifted"."""
        del keys
        event = samples.event("revocation.lifted")
        assert steps.around("control", adapters.control).restore(self.revocation.id, "tester", event)
        return "lifted"


@dataclass(frozen=True)
class Apply:
    """A policy in place of version 1."""

    policy: Policy

    def __call__(self, adapters: Adapters, keys: Keys, steps: Steps) -> str:
        """Return "applied"."""
        del keys
        event = samples.event("policy.applied")
        steps.around("control", adapters.control).apply(self.policy, "the new text", 1, event)
        return "applied"
