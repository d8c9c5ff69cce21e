"""What the administrators' door's views need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.admin.audit_chain import AuditChain
from chalicelib.admin.revocation_probe import RevocationProbes
from chalicelib.audit import Audit, Event
from chalicelib.edge.refused_calls import RefusedCalls
from chalicelib.edge.response_times import ResponseTimes
from chalicelib.exchange.ledger import Pins
from chalicelib.federation.notes import Asked, MintNotes, Trial
from chalicelib.http.messages import Request
from chalicelib.issuers.registry import KeySource
from chalicelib.policy.compile import InstallationRules
from chalicelib.policy.plan import Policies
from chalicelib.providers.keys import ProviderKeyStore
from chalicelib.providers.origins import Origins
from chalicelib.providers.probing import KeyProbe
from chalicelib.providers.versions import KeyInfo, Keys
from chalicelib.revocation import Revocations
from chalicelib.rotation.accounts import Accounts
from chalicelib.rotation.rotate import Rotator
from chalicelib.tokens.key_list import SigningKeyLists, SigningKeyStore
from chalicelib.usage import Usage


@dataclass(frozen=True, slots=True)
class AdminPorts:
    """Everything that the administrators' door can reach. It holds no signer: this door issues no tokens."""

    issuer_keys: KeySource
    """The issuers' public keys, with which `explain` verifies a token."""
    revocations: Revocations
    """What is revoked, and the state of each target."""
    audit: Audit
    """The audit events."""
    chain: AuditChain
    """The hashes over the audit events."""
    policies: Policies
    """The policy in force."""
    pins: Pins
    """Which unique id each AWS principal is bound to."""
    usage: Usage
    """The counters that quotas are counted with."""
    keys: Keys
    """What is known of each provider key except its value."""
    key_store: ProviderKeyStore
    """Where the values of provider keys are stored."""
    key_probe: KeyProbe
    """Who asks providers whether a key works."""
    management_store: ProviderKeyStore
    """Where the credentials are stored with which keys are replaced at their providers, by the key's name."""
    accounts: Accounts
    """Makes what replaces keys at their providers."""
    installation: str
    """Names this installation where keys are made, so that two that share an account do not take each other's for orphans."""
    wait: Callable[[float], None]
    """Waits so many seconds."""
    signing_key_lists: SigningKeyLists
    """Which of our own signing keys are live, and which one signs."""
    signing_key_store: SigningKeyStore
    """Where those keys are, or their public halves."""
    revocation_probes: RevocationProbes
    """How long a revocation took when it was last measured."""
    refused_calls: RefusedCalls
    """The calls that edges refused of late, as far as they are kept here."""
    response_times: ResponseTimes
    """How long answers took, as far as edges that see them have added it up here."""
    mint_notes: MintNotes
    """Why no credential could be minted, of the federated keys of which that is so."""
    try_mint: Callable[[KeyInfo, Asked], Trial]
    """Mints a credential of a federated key and keeps nothing of it; raises Unavailable. This door signs no assertion itself."""
    federation_jwks: Callable[[], Sequence[Mapping[str, str]]]
    """Returns the public keys of our own issuer `/federation`, as JWKs; raises Unavailable."""
    broker_url: str
    """The broker's own URL."""
    origins: Origins
    """Where a provider key may be sent."""
    rules: InstallationRules
    """The policy language of this installation."""
    clock: Callable[[], int]
    """Returns the time in epoch seconds."""
    new_id: Callable[[], str]
    """Returns an unguessable id."""
    edge_log: str = ""
    """The log group, in whichever region ran it, of an edge whose refusals are in its log alone; "" if there is none."""

    def rotator(self) -> Rotator:
        """Return what replaces keys at their providers."""
        prefix = f"keybroker/{self.installation}"
        parts = self.keys, self.key_store, self.key_probe, self.accounts, self.origins
        return Rotator(*parts, prefix, self.clock, self.new_id, self.wait)

    def event(self, request: Request, kind: str, **detail: str) -> Event:
        """Return the audit event of what the administrator who signed this request does now.

        kind: one of `audit.KINDS`. Raises NotAnAdministrator.
        """
        return Event(
            id=self.new_id(),
            at=self.clock(),
            kind=kind,
            request_id=request.request_id,
            actor=request.administrator(),
            detail=detail,
        )
