"""Both verbs and every port over DynamoDB's adapters, with a policy in force, and a way to try each of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from chalicelib import quota
from chalicelib.audit import Query
from chalicelib.aws import target_items
from chalicelib.aws.botocore_client import THREADS
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.published_keys import PublishedSigningKeys
from chalicelib.aws.round_trip import CONNECTIONS
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.edge import admission
from chalicelib.edge.admission import Edge
from chalicelib.edge.call import Call
from chalicelib.errors import Refusal, Unavailable
from chalicelib.exchange import exchange
from chalicelib.exchange import self_revocation as holder
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.exchange.ledger import Pin
from chalicelib.issuers.aws import AwsIdentity
from chalicelib.issuers.presets import GENERIC
from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS
from chalicelib.providers.keys import ProviderKey
from chalicelib.quota import EVERYBODY, Limit
from chalicelib.revocation import Revocation
from chalicelib.usage import UsageQuery
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import edge_state_of, locked_moto, over
from tests.contracts.samples import ISSUER, NOW, SIX, SUB, calls, grant, issuance, lock, new_id, wanted
from tests.contracts.verbs import BROKER, Keys
from tests.faulty_dynamodb import Door, content, door, tables_behind

ROLE = "arn:aws:iam::123456789012:role/app"
CAPPED = grant("capped", key="other")._replace(total_limits=(Limit(1000, "day"),))
BY_ROLE = grant("by-role", issuer=AWS)._replace(claims=((("aws",), (ROLE,)),))


class _ProviderKeys:
    def get(self, name: str, version: str) -> ProviderKey:  # noqa: ARG002  the port's
        return ProviderKey(version, "https://api.example.com", "authorization", "Bearer ", "made-up")


class Stage:
    """A broker and an edge over three tables behind a door. Grants: `ci`, `capped` (a `total`), `by-role` (IAM)."""

    def __init__(self, door: Door, tables: Tables, keys: Keys, *, lean: bool = False) -> None:
        self.door, self.tables, self._keys = door, tables, keys
        self.adapters = one = over(tables, door.edge_client if lean else None)
        self.broker = Broker(
            ledger=one.ledger,
            keys=keys,
            signer=keys.broker,
            signing_keys=keys.broker,
            url=BROKER,
            edge_url="https://edge.example.com",
            identities=frozenset({GENERIC.identity}),
        )
        self.edge = Edge(state=one.edge_state, signing_keys=keys.broker, provider_keys=_ProviderKeys(), issuer=BROKER)
        self.lean = edge_state_of(tables, door.edge_client)
        self.lean_edge = replace(self.edge, state=self.lean)
        self.past, self._capped = over(tables._replace(client=locked_moto())).control, CAPPED
        patiently(self.apply)
        patiently(self.list_signing_keys)
        patiently(lambda: DynamoSigningKeys(tables).publish(keys.broker.public_jwk))
        self.token, self.spare = patiently(self.issued), patiently(self.issued)
        self.capped = patiently(lambda: self.issued("capped", "other"))
        self.hold()

    def hold(self) -> None:
        """Make a revocation to be restored, `held`."""
        self.held = self.past.revoke(samples.revocation("principal", new_id()), samples.event("revocation.made"))

    def version(self) -> int:
        """Return the version of the policy in force; past the door and its faults."""
        return self.past.current().version

    def apply(self, ci: Grant | None = None) -> None:
        """Put a policy in force. ci: that grant, where it is to be another; else it is `capped` that changes."""
        version = self.version()
        if ci is None:
            self._capped = CAPPED._replace(total_limits=(Limit(1000 + version, "day"),))
        grants = (ci or grant(), self._capped, BY_ROLE)
        policy = samples.policy(*grants, keys=("openai", "other"), issuers=(samples.issuer(single_use=True),))
        control = self.adapters.control if version else self.past  # the first one is more than the door waits for
        control.apply(policy, "the text", version, samples.event("policy.applied"))

    def list_signing_keys(self) -> None:
        """Put the broker's key in force."""
        self.adapters.control.list_signing_keys((self._keys.broker.kid(),))

    def subject_token(self, subject: str = "build-1", jti: str = "") -> str:
        """Return an identity token, good for 5 minutes."""
        claims = {"iss": ISSUER, "aud": "keybroker", "sub": subject, "iat": NOW, "exp": NOW + 300}
        header = {"typ": "JWT", "kid": self._keys.issuer.kid()}
        return self._keys.issuer.begin(header, {**claims, "jti": jti or new_id()}).result()

    def exchange(
        self,
        subject_token: str = "",
        grant: str | None = None,
        audience: str = "openai",
        idempotency_key: str | None = None,
    ) -> str:
        """Return a token of ours; raises Refusal."""
        subject = subject_token or self.subject_token()
        request = TokenRequest(subject, audience, new_id(), grant, idempotency_key=idempotency_key)
        return exchange.exchange(request, self.broker, NOW, new_id).access_token

    def issued(self, grant: str = "ci", audience: str = "openai") -> str:
        """Return a token of ours for a fresh identity token; raises Refusal."""
        return self.exchange(grant=grant, audience=audience)

    def exchange_iam(self, grant: str | None = None) -> str:
        """Return a token of ours for the role; raises Refusal."""
        identity = AwsIdentity("aws", "123456789012", ROLE, "AROA1", "session-1")
        return exchange.exchange_iam(
            TokenRequest("", "openai", new_id(), grant), identity, self.broker, NOW, new_id
        ).access_token

    def refuse(self) -> Refusal:
        """Ask for a token that no grant admits; return the refusal, once it is recorded."""
        try:
            self.exchange(self.subject_token("stranger"), "ci")
        except Refusal as refusal:
            if refusal.status == 503:
                raise
            return refusal
        raise AssertionError("a stranger was let in")

    def admit(self, token: str, key: str = "openai", now: int = NOW) -> None:
        """Make a call; raises Refusal."""
        admission.admit(Call(token, key, "POST", "/v1/chat/completions"), self.edge, now)

    def admit_lean(self, token: str, key: str = "openai") -> None:
        """Make a call at an edge with the client of its own; raises Refusal."""
        admission.admit(Call(token, key, "POST", "/v1/chat/completions"), self.lean_edge, NOW)

    def revoke(self, scope: str = "principal", target: str = "", until: int | None = None) -> Revocation:
        """Revoke something: by default, an unknown principal."""
        made = samples.revocation(scope, target or new_id(), until=until)
        return self.adapters.control.revoke(made, samples.event("revocation.made"))

    def restore(self, made: Revocation) -> Revocation | None:
        """Restore what was revoked."""
        return self.adapters.control.restore(made.id, "tester", samples.event("revocation.lifted"))

    @contextlib.contextmanager
    def blocked(self, scope: str, target: str) -> Iterator[None]:
        """Keep something revoked meanwhile; past the door and its faults."""
        made = self.past.revoke(samples.revocation(scope, target), samples.event("revocation.made"))
        yield
        self.past.restore(made.id, "tester", samples.event("revocation.lifted"))

    def content(self, *names: str) -> list[str]:
        """Return all that is in these tables, or in all three."""
        return content(*(names or (self.tables.control, self.tables.counters, self.tables.ledger)))


@contextlib.contextmanager
def stage(directory: Path, *, lean: bool = False) -> Iterator[Stage]:
    """Make a stage over tables of its own. lean: its edge has the client of its own, without botocore."""
    # Four copies of what many share, not sixteen: moto takes some milliseconds for each.
    with pytest.MonkeyPatch.context() as patch, door() as opened, tables_behind(opened) as tables:
        patch.setattr(target_items, "COPIES", "0123")
        yield Stage(opened, tables, Keys(directory), lean=lean)


_Done = TypeVar("_Done")


def patiently(act: Callable[[], _Done]) -> _Done:
    """Do what has to work, and again if a busy machine took longer over it than the product waits."""
    for _ in range(9):
        try:
            return act()
        except Unavailable:
            settle()
    return act()


def settle() -> None:
    """Wait until no request is in flight: the others of a round trip may be, after one was refused."""
    together = threading.Barrier(CONNECTIONS)
    THREADS.answers([lambda: together.wait(10)] * CONNECTIONS, time.monotonic() + 10)


_TOTAL = quota.counters("calls", "ci", EVERYBODY, NOW)
_DAY = UsageQuery("day", NOW)

PORTS: Mapping[str, Callable[[Stage], object]] = {
    "find": lambda one: one.adapters.ledger.find(wanted()),
    "find_named": lambda one: one.adapters.ledger.find(wanted(grant="ci")),
    "issue": lambda one: one.adapters.ledger.issue(issuance(lock=lock(new_id())), NOW),
    "issue_pinned": lambda one: one.adapters.ledger.issue(replace(issuance(), pin=Pin(ROLE, "AROA1")), NOW),
    "record": lambda one: one.adapters.ledger.record(samples.event()),
    "record_refused": lambda one: one.adapters.ledger.record(samples.event("token.refused", principal=SUB, reason="x")),
    "page": lambda one: one.adapters.ledger.page(Query(since=NOW - 1, until=NOW + 1)),
    "read_and_count": lambda one: one.adapters.edge_state.read_and_count(SIX, calls()),
    "read_and_count_total": lambda one: one.adapters.edge_state.read_and_count(SIX, calls(), _TOTAL),
    "count": lambda one: one.adapters.edge_state.count(calls()),
    "give_back": lambda one: one.adapters.edge_state.give_back(calls(), "a_test"),
    "revoke": Stage.revoke,
    "revoke_named": lambda one: one.revoke("grant", "by-role", NOW),
    "restore": lambda one: one.restore(one.held),
    "revocations": lambda one: one.adapters.control.revocations("", "", 50),
    "revocation": lambda one: one.adapters.control.revocation(one.held.id),
    "revocation_state": lambda one: one.adapters.control.revocation_state(SIX["grant"]),
    "current": lambda one: one.adapters.control.current(),
    "apply": Stage.apply,
    "keys": lambda one: one.adapters.control.keys(samples.event("keys.read")),
    "set_key": lambda one: one.adapters.control.set_key("openai", samples.key_version("v1"), samples.event("key.set")),
    "list_signing_keys": Stage.list_signing_keys,
    "publish": lambda one: DynamoSigningKeys(one.tables).publish(one._keys.broker.public_jwk),
    "find_signing_key": lambda one: DynamoSigningKeys(one.tables).find(one._keys.broker.kid(), NOW),
    "lean_read_and_count": lambda one: one.lean.read_and_count(SIX, calls()),
    "lean_read_and_count_total": lambda one: one.lean.read_and_count(SIX, calls(), _TOTAL),
    "lean_count": lambda one: one.lean.count(calls()),
    "lean_give_back": lambda one: one.lean.give_back(calls(), "a_test"),
    "lean_taken": lambda one: one.lean.taken(calls()),
    "lean_find_signing_key": lambda one: PublishedSigningKeys(one.door.edge_client, one.tables.control).find(
        one._keys.broker.kid(), NOW
    ),
    "lean_admit": lambda one: one.admit_lean(one.token),
    "lean_admit_total": lambda one: one.admit_lean(one.capped, "other"),
    "pin": lambda one: one.adapters.control.pin(ROLE, "AROA1", samples.event("principal.pinned")),
    "uses": lambda one: one.adapters.usage.uses(_DAY),
    "uses_of": lambda one: one.adapters.usage.uses(replace(_DAY, principal=SUB)),
    "recent_calls": lambda one: one.adapters.usage.recent_calls([(SUB, "ci")], NOW),
    "exchange": lambda one: one.exchange(grant="ci"),
    "exchange_unnamed": Stage.exchange,
    "exchange_iam": lambda one: one.exchange_iam("by-role"),
    "refuse": Stage.refuse,
    "admit": lambda one: one.admit(one.token),
    "admit_total": lambda one: one.admit(one.capped, "other"),
    "revoke_own_token": lambda one: holder.revoke_own_token(one.spare, one.broker, one.adapters.control, NOW, new_id()),
}
"""Every method of every port that goes to DynamoDB, and both verbs; each does something that can be done again."""

SOME = "find_named issue record read_and_count revoke apply current exchange admit".split()  # noqa: SIM905  a list of words
"""One for each way in which DynamoDB is asked."""

TRANSACTING = (
    *("issue", "issue_pinned", "record_refused", "revoke", "revoke_named", "restore", "set_key", "list_signing_keys"),
    *("pin", "exchange", "exchange_unnamed", "exchange_iam", "refuse", "revoke_own_token"),
)
"""Those that end in one transaction."""
