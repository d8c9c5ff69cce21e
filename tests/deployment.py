"""Keybroker over DynamoDB with what a real one holds: real verbs, GitHub's own claims, ids as long as they are on AWS."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chalicelib.audit import Event
from chalicelib.aws.botocore_client import BotocoreClient
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.edge_state import DynamoEdgeState
from chalicelib.aws.items import Item
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.policies import DynamoPolicies
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.aws.usage import DynamoUsage
from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Admitted, Call
from chalicelib.errors import Refusal
from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.issuers import presets
from chalicelib.issuers.aws import AwsIdentity
from chalicelib.issuers.registry import Issuer
from chalicelib.policy import compile as policy
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from chalicelib.revocation import Revocation, detail
from chalicelib.tokens.jwk import VerifyingKey
from chalicelib.tokens.jws import parse
from chalicelib.tokens.signer import IssuedToken
from local.signing_key_file import SigningKeyFile

T = TypeVar("T")

NOW = 1_795_000_200
"""While the token of CLAIMS is good."""
ADA = "arn:aws:sts::123456789012:assumed-role/keybroker-responder/ada"
GITHUB = "https://token.actions.githubusercontent.com"
SUB = f"{GITHUB}|repository_id:456789"
ROLE = "arn:aws:iam::123456789012:role/billing"
CLAIMS: Mapping[str, Any] = json.loads((Path(__file__).parent / "vectors/claims/github-actions.json").read_text())[
    "claims"
]
REASON = "laptop of the maintainer was stolen, see the incident of this morning"

POLICY = """\
keys:
  openai: {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  github: {preset: github-actions, audience: keybroker}
grants:
  app-ci:
    key: openai
    to: {issuer: github, claims: {repository_owner_id: "123456", ref: [refs/heads/main, "refs/tags/*"]}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "GET:/v1/models", "GET:/v1/models/*"]
    source_ips: [198.51.100.0/24]
    quota: {tokens: 30/hour, calls: [120/minute, 10000/day]}
  nightly:
    key: anthropic
    to: {issuer: github, claims: {repository_owner_id: "123456"}}
    scope: ["POST:/v1/messages"]
    source_ips: [198.51.100.0/24]
    quota: {tokens: 60/hour, calls: [600/minute]}
    total: {calls: [100000/day]}
  billing:
    key: openai
    to: {aws: "arn:aws:iam::123456789012:role/billing"}
    scope: ["POST:/v1/embeddings"]
    quota: {tokens: 60/hour, calls: [600/minute]}
"""


class _ProviderKeys:
    def get(self, name: str, version: str) -> ProviderKey:  # noqa: ARG002  the port's
        """See `ProviderKeys.get`; Secrets Manager is no part of this."""
        return ProviderKey(version, "https://api.openai.com", "authorization", "Bearer ", "made-up")


@dataclass(frozen=True)
class _IssuerKeys:
    """What verifies an issuer's tokens (`KeySource`)."""

    key: SigningKeyFile

    def find(self, issuer: Issuer, kid: str, alg: str, now: int) -> VerifyingKey:  # noqa: ARG002  the port's
        """See `KeySource.find`."""
        return self.key.find(kid, now)


class Deployment:
    """Everything but HTTP. A policy is in force, keys are set, two signing keys are listed."""

    def __init__(self, tables: Tables, directory: Path) -> None:
        self.tables = tables
        self.policies, self.control = DynamoPolicies(tables), DynamoControl(tables)
        self.revocations, self.usage = DynamoRevocations(tables), DynamoUsage(tables)
        self.ledger = DynamoLedger(tables, lambda: NOW)
        self._ids, self._versions = itertools.count(1), itertools.count()
        self._signer, self._issuer = (SigningKeyFile.create(directory / name) for name in ("broker.pem", "issuer.pem"))
        self._broker = Broker(
            ledger=self.ledger,
            keys=_IssuerKeys(self._issuer),
            signer=self._signer,
            signing_keys=self._signer,
            url="https://keybroker.example.com",
            edge_url="https://keys.example.com",
            identities=frozenset(one.identity for one in (*presets.PRESETS.values(), presets.GENERIC)),
        )
        self._edge = Edge(
            DynamoEdgeState(BotocoreClient(tables.client), tables.control, tables.counters),
            self._signer,
            _ProviderKeys(),
            self._broker.url,
        )
        self.list_signing_keys()
        self.apply(POLICY)
        for key in ("openai", "anthropic"):
            self.set_key(key)

    def new_id(self) -> str:
        """Return an id as long as the broker's own."""
        return f"{next(self._ids):022d}"

    def uuid(self) -> str:
        """Return an id as long as API Gateway's, GitHub's and Secrets Manager's."""
        return f"{next(self._ids):036d}"

    def event(self, kind: str, **members: Any) -> Event:  # noqa: ANN401  Event's members
        """Return what is recorded of an administrator."""
        return Event(self.new_id(), NOW, kind, self.uuid(), actor=ADA, **members)

    def apply(self, text: str) -> None:
        """Put a policy in force."""
        event = self.event("policy.applied", detail={"file": "keybroker.yaml", "replaces": "1"})
        self.policies.apply(policy.parse(text), text, next(self._versions), event)

    def list_signing_keys(self) -> None:
        """List two signing keys as live, though but one of them signs."""
        self.control.list_signing_keys((self._signer.kid(), self._issuer.kid()))

    def publish_signing_key(self) -> None:
        """Let tokens be verified with the key that signs."""
        DynamoSigningKeys(self.tables).publish(self._signer.public_jwk)

    def find_signing_key(self) -> VerifyingKey:
        """Look the key up as an edge that has just started does."""
        return DynamoSigningKeys(self.tables).find(self._signer.kid(), NOW)

    def set_key(self, name: str) -> None:
        """Put a version of a key in force."""
        version = KeyVersion(self.uuid(), f"https://api.{name}.com", "authorization", ADA, NOW)
        event = self.event("key.set", key=name, detail={"key": name, "version": version.version})
        self.control.set_key(name, version, event)

    def subject_token(self, **claims: object) -> str:
        """Return a token of GitHub's, with a `jti` of its own."""
        found = {**CLAIMS, "jti": self.uuid(), **claims}
        return self._issuer.begin({"typ": "JWT", "kid": self._issuer.kid()}, found).result()

    def exchange(self, subject: str = "", key: str = "openai", **more: Any) -> IssuedToken | Refusal:  # noqa: ANN401  TokenRequest's
        """Exchange a token of GitHub's, a new one unless given."""
        request = TokenRequest(subject or self.subject_token(), key, self.uuid(), **more)
        return _or_refusal(lambda: exchange.exchange(request, self._broker, NOW, self.new_id))

    def exchange_iam(self, unique_id: str = "AROAEXAMPLEEXAMPLEEX1") -> IssuedToken | Refusal:
        """Exchange an IAM identity."""
        identity = AwsIdentity("aws", "123456789012", ROLE, unique_id, "i-0123456789abcdef0")
        request = TokenRequest("", "openai", self.uuid(), grant="billing")
        return _or_refusal(lambda: exchange.exchange_iam(request, identity, self._broker, NOW, self.new_id))

    def token(self, key: str = "openai", **claims: object) -> str:
        """Return a token of ours."""
        issued = self.exchange(self.subject_token(**claims), key)
        assert isinstance(issued, IssuedToken)
        return issued.access_token

    def without_total(self, token: str) -> str:
        """Return a token of ours as it would be if its grant had had no `total` then."""
        claims = {name: value for name, value in parse(token).unverified_claims.items() if name != "total"}
        return self._signer.begin({"typ": "at+jwt", "kid": self._signer.kid()}, claims).result()

    def call(self, token: str, key: str = "openai", ip: str = "198.51.100.7", path: str = "") -> Admitted | Refusal:
        """Attempt a call."""
        path = path or {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[key]
        return _or_refusal(lambda: admission.admit(Call(token, key, "POST", path, ip), self._edge, NOW))

    def revoke(self, scope: str, target: str) -> Revocation:
        """Take something back."""
        made = Revocation(self.new_id(), scope, target, REASON, ADA, NOW)
        return self.revocations.revoke(made, self.revoked_event(made))

    def revoked_event(self, made: Revocation) -> Event:
        """Return what is recorded of a revocation."""
        principal = made.target if made.scope == "principal" else ""
        return self.event("revocation.made", principal=principal, detail=detail(made))

    def restore(self, revocation: Revocation) -> None:
        """End its block."""
        event = self.event("revocation.lifted", detail={"revocation": revocation.id})
        assert self.revocations.restore(revocation.id, ADA, event)

    def item(self, table: str, partition: str, sort: str) -> Item:
        """Return an item of one of the tables."""
        key = {"pk": {"S": partition}, "sk": {"S": sort}}
        return self.tables.client.get_item(TableName=getattr(self.tables, table), Key=key)["Item"]

    def beginning(self, table: str, partition: str) -> list[Item]:
        """Return the items whose partition key begins so."""
        items = self.tables.client.scan(TableName=getattr(self.tables, table))["Items"]
        return [item for item in items if item["pk"]["S"].startswith(partition)]


def _or_refusal(do: Callable[[], T]) -> T | Refusal:
    try:
        return do()
    except Refusal as refusal:
        return refusal
