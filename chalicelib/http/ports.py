"""What the public door's views need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.exchange.exchange import Broker
from chalicelib.revocation import Revocations
from chalicelib.usage import OwnUsage


@dataclass(frozen=True, slots=True)
class PublicPorts:
    """Everything that the public door can reach. It holds nothing that only administrators need."""

    # SECURITY: a port that is absent here cannot be called by mistake (test_public_ports_hold_no_admin_port).
    broker: Broker
    """What an exchange needs: state, issuers' keys and the signer."""
    revocations: Revocations
    """Where a holder's revocation of its own token is put in force."""
    usage: OwnUsage
    """Where a caller's own counters are read."""
    jwks: Callable[[], Sequence[Mapping[str, str]]]
    """Returns the public signing keys that are live now, as JWKs; raises Unavailable."""
    federation_jwks: Callable[[], Sequence[Mapping[str, str]]]
    """Returns the public keys of our own issuer `/federation`, as JWKs; raises Unavailable."""
    clock: Callable[[], int]
    """Returns the time in epoch seconds."""
    new_id: Callable[[], str]
    """Returns an unguessable id."""
