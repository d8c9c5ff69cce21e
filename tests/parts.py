"""The broker's and the edge's real parts over a directory of the test's own, at a time that the test chooses."""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

import edge
from chalicelib.admin.ports import AdminPorts
from chalicelib.audit import Event, Query
from chalicelib.edge import admission
from chalicelib.edge.billing import Kept
from chalicelib.edge.call import Admitted, Call
from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import Broker, TokenRequest
from chalicelib.exchange.ledger import Ledger
from chalicelib.federation.notes import Trial
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers import presets
from chalicelib.issuers.fetch import send
from chalicelib.issuers.jwks import Jwks
from chalicelib.models.body import CallBody
from chalicelib.policy import compile as policy
from chalicelib.providers import prices
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.origins import Origins
from chalicelib.providers.presets import PROVIDERS
from chalicelib.providers.probing import Probed
from chalicelib.providers.versions import KeyVersion
from chalicelib.revocation import Revocation
from chalicelib.rotation.accounts import Accounts
from chalicelib.tokens.signer import IssuedToken
from local.provider_key_file import ProviderKeyFile
from local.provider_keys import LocalManagementKeys, LocalProviderKeys
from local.revocation_probe import ProbeFile
from local.signing_key_file import SigningKeyFile
from local.sqlite.budgets import SqliteBudgets
from local.sqlite.control import SqliteControl
from local.sqlite.edge_state import SqliteEdgeState
from local.sqlite.ledger import SqliteLedger
from local.sqlite.mint_notes import SqliteMintNotes
from local.sqlite.refused_calls import SqliteRefusedCalls
from local.sqlite.response_times import SqliteResponseTimes
from local.sqlite.state_file import StateFile
from local.sqlite.usage import SqliteUsage

NOW = 1_800_000_000
"""08:00 UTC: a minute and an hour begin, and the day has 57,600 s left."""
BROKER = "https://broker.example"
EDGE = "https://edge.example"
CI = "https://ci.example"
CLUSTER = "https://cluster.example"
SUB = f"{CI}|repository_id:1234"
DIALECT = policy.InstallationRules(
    {"ci": replace(presets.PRESETS["github-actions"], url=CI, algorithms=("ES256",))}, sees_answers=True
)
KEY_VALUE = "sk-real-0123456789abcdef"

PRICES = prices.parse(
    '{"date": "2026-11-28", "providers": {"openai": {"gpt-5": [[0, 1000000, 8000000, 100000, 1000000]]}}}'
)
"""A dollar for a million tokens of input, eight for one of output."""

ISSUERS = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  ci:      {preset: ci, audience: keybroker}
  cluster: {url: "https://cluster.example", audience: keybroker, algorithms: [ES256]}
"""
GRANTS = """\
grants:
  app:
    key: openai
    to: {issuer: ci, claims: {repository_owner_id: "9919", ref: [refs/heads/main, "refs/tags/*"]}}
    scope: ["POST:/v1/chat/completions", "GET:/v1/models", "GET:/v1/models/*"]
    quota: {tokens: 100/hour, calls: [100/minute, 1000/day]}
  pods:
    key: openai
    to: {issuer: cluster, claims: {sub: "system:serviceaccount:prod:*"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 100/hour, calls: 100/minute}
"""


def grant(**changes: str) -> str:
    """The policy with one grant, `app`, of which some fields differ; each in YAML."""
    fields = {
        "key": "openai",
        "to": '{issuer: ci, claims: {repository_owner_id: "9919"}}',
        "scope": '["POST:/v1/chat/completions", "GET:/v1/models", "GET:/v1/models/*"]',
        "quota": "{tokens: 100/hour, calls: [100/minute, 1000/day]}",
        **changes,
    }
    return ISSUERS + "grants:\n  app:\n" + "".join(f"    {name}: {value}\n" for name, value in fields.items())


class Accepting:
    """A provider that says of every key that it works (`chalicelib.providers.probing.KeyProbe`)."""

    def probe(self, key: ProviderKey, provider: str) -> tuple[Probed, str]:  # noqa: ARG002  the port's
        """See `KeyProbe.probe`."""
        return Probed.WORKS, "status_200"


class Parts:
    """Everything that a request meets, but for sockets. Made by `parts_in`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = StateFile.create(directory / "state.db")
        self.control, self.ledger, self.edge_state = (
            SqliteControl(self.state),
            SqliteLedger(self.state),
            SqliteEdgeState(self.state),
        )
        self.signer = SigningKeyFile.create(directory / "signing-key.pem")
        self.provider_keys = ProviderKeyFile(directory / "provider-keys.json")
        self.versions: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.apply(ISSUERS + GRANTS)
        self.control.list_signing_keys((self.signer.kid(),))
        self.set_key("openai", KEY_VALUE)
        self.set_key("anthropic", "sk-ant-real-0123456789abcdef")

    def new_id(self) -> str:
        """An id that was not used before."""
        return f"id-{next(self._numbers)}"

    def event(self, kind: str = "policy.applied") -> Event:
        """Something to record with a change."""
        return Event(id=self.new_id(), at=NOW, kind=kind, request_id="req-control", actor="arn:aws:iam::1:user/ada")

    def apply(self, text: str) -> None:
        """Put a policy in force."""
        parsed = policy.parse(text, rules=DIALECT)
        self.control.apply(parsed, text, self.control.current().version, self.event())

    def set_key(
        self, name: str, value: str, *, in_force: bool = True, origin: str | None = None, header: str | None = None
    ) -> str:
        """Store a provider key's value as a new version; return the version. A header of its own has no prefix."""
        provider = PROVIDERS[name]
        version = f"v{next(self._numbers)}"
        where = origin or str(provider.origin)
        named, prefix = (header, "") if header else (provider.header, provider.prefix)
        self.provider_keys.put(name, ProviderKey(version, where, named, prefix, value))
        self.versions[name] = version
        if in_force:
            self.control.set_key(name, KeyVersion(version, where, named, "ada", NOW), self.event("key.set"))
        return version

    def value(self, name: str) -> str:
        """The value of a provider key that was set last."""
        return self.provider_keys.get(name, self.versions[name]).value

    def revoke(self, scope: str, target: str, until: int | None = None) -> str:
        """Revoke something; return the revocation's id."""
        made = Revocation(self.new_id(), scope, target, "a test", "arn:aws:iam::1:user/ada", NOW, until)
        self.control.revoke(made, self.event("revocation.made"))
        return made.id

    def restore(self, revocation_id: str) -> None:
        """End a revocation's block."""
        assert self.control.restore(revocation_id, "arn:aws:iam::1:user/ada", self.event("revocation.lifted"))

    def broker(self, ledger: Ledger | None = None, practice_ttl: int | None = None) -> Broker:
        """What an exchange needs."""
        return Broker(
            ledger=ledger or self.ledger,
            keys=_issuer_keys(),
            signer=self.signer,
            signing_keys=self.signer,
            url=BROKER,
            edge_url=EDGE,
            identities=frozenset(one.identity for one in (*DIALECT.presets.values(), presets.GENERIC)),
            practice_ttl=practice_ttl,
        )

    def edge_parts(self) -> admission.Edge:
        """What an admission needs; keeps what it remembers of provider keys from call to call."""
        keys = LocalProviderKeys(self.provider_keys, self.control)
        kept = Kept(SqliteBudgets(self.state), PRICES)
        return admission.Edge(self.edge_state, self.signer, keys, BROKER, EDGE, budgets=kept)

    def public_ports(self) -> PublicPorts:
        """What the public door's routes need."""
        return PublicPorts(
            broker=self.broker(),
            revocations=self.control,
            usage=SqliteUsage(self.state),
            jwks=lambda: [self.signer.public_jwk],
            federation_jwks=list,
            clock=lambda: NOW,
            new_id=self.new_id,
        )

    def admin_ports(self) -> AdminPorts:
        """What the administrators' door's routes need."""
        return AdminPorts(
            issuer_keys=_issuer_keys(),
            revocations=self.control,
            audit=self.ledger,
            chain=self.ledger,
            policies=self.control,
            pins=self.control,
            usage=SqliteUsage(self.state),
            keys=LocalProviderKeys(self.provider_keys, self.control),
            key_store=self.provider_keys,
            key_probe=Accepting(),
            management_store=(management_keys := LocalManagementKeys(self.provider_keys)),
            accounts=Accounts(management_keys, send),
            installation="broker.example",
            wait=lambda _seconds: None,
            signing_key_lists=self.control,
            signing_key_store=self.signer,
            revocation_probes=ProbeFile(self.directory / "revocation-probe.json"),
            refused_calls=SqliteRefusedCalls(self.state),
            response_times=SqliteResponseTimes(self.state),
            mint_notes=SqliteMintNotes(self.state),
            try_mint=lambda _info, _asked: Trial(NOW + 1800),
            federation_jwks=list,
            broker_url=BROKER,
            origins=Origins(),
            rules=DIALECT,
            clock=lambda: NOW,
            new_id=self.new_id,
        )

    def edge_ports(self, log: list[str], now: int = NOW) -> edge.Ports:
        """What the edge function needs. log: gets its lines."""
        return edge.Ports(self.edge_parts(), lambda: now, log.append)

    def exchange(
        self,
        subject: str | None = None,
        now: int = NOW,
        ledger: Ledger | None = None,
        **more: Any,  # noqa: ANN401  TokenRequest's fields
    ) -> IssuedToken:
        """Exchange a subject token; raises Refusal."""
        fields = {"audience": "openai", "request_id": "req-1", **more}
        request = TokenRequest(unverified_subject_token=subject or mint(), **fields)
        return exchange.exchange(request, self.broker(ledger), now, self.new_id)

    def token(self, now: int = NOW, **claims: Any) -> str:  # noqa: ANN401  mint's parameters
        """A token of ours for a fresh subject token."""
        return self.exchange(mint(now=now, **claims), now).access_token

    def admit(self, token: str, path: str = "/v1/chat/completions", now: int = NOW, **more: str) -> Admitted:
        """Attempt a call with an empty body; raises Refusal."""
        body = CallBody("", truncated=False)
        call = Call(token, more.get("key", "openai"), more.get("method", "POST"), path, body=body)
        return admission.admit(call, self.edge_parts(), now)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token of ours with exactly these claims."""
        return self.signer.begin({"typ": "at+jwt", "kid": self.signer.kid()}, claims).result()

    def events(self, **equals: str) -> tuple[Event, ...]:
        """What the audit holds, newest first."""
        return self.ledger.page(Query(equals)).events

    def counted(self, what: str = "calls") -> dict[str, tuple[int, int]]:
        """By window: how many were taken, and how many refused; of all principals together."""
        with self.state.reading() as connection:
            taken, refused = (
                dict(
                    connection.execute(
                        f"SELECT window, sum({column}) FROM {table} WHERE what = ? GROUP BY window",  # noqa: S608  constants
                        [what],
                    )
                )
                for table, column in (("counters", "taken"), ("refusals", "refused"))
            )
        return {window: (count, refused.get(window, 0)) for window, count in taken.items()}


@contextlib.contextmanager
def parts_in(directory: Path) -> Iterator[Parts]:
    """Make the parts, and close what they opened."""
    parts = Parts(directory)
    try:
        yield parts
    finally:
        parts.state.close()


def mint(now: int = NOW, issuer: str = CI, *, drop: tuple[str, ...] = (), typ: str = "JWT", **claims: object) -> str:
    """A subject token of one of the two issuers, with a `jti` of its own."""
    found: dict[str, object] = {
        "iss": issuer,
        "aud": "keybroker",
        "sub": "repo:octo-org/app:ref:refs/heads/main",
        "jti": f"subject-{next(_SUBJECTS)}",
        "iat": now,
        "exp": now + 300,
        "repository": "octo-org/app",
        "repository_id": "1234",
        "repository_owner_id": "9919",
        "ref": "refs/heads/main",
        "event_name": "push",
        **claims,
    }
    kept = {name: value for name, value in found.items() if name not in drop}
    return jwt.encode(kept, _issuer_key(), algorithm="ES256", headers={"kid": "issuer-1", "typ": typ})


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


_SUBJECTS = itertools.count(1)


@functools.cache
def _issuer_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def _documents() -> dict[str, object]:
    jwk = {**json.loads(ECAlgorithm.to_jwk(_issuer_key().public_key())), "kid": "issuer-1", "use": "sig"}
    found: dict[str, object] = {}
    for url in (CI, CLUSTER):
        found[f"{url}/.well-known/openid-configuration"] = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        found[f"{url}/jwks"] = {"keys": [jwk]}
    return found


def _issuer_keys() -> Jwks:
    return Jwks(lambda url, *_: _documents()[url])
