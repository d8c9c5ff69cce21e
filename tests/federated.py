"""An installation whose keys are federated, beside practice providers with their own clock and faults."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from chalicelib.audit import Event, Query
from chalicelib.federation.minter import Minter
from chalicelib.policy import compile as policy
from chalicelib.providers.versions import KeyInfo, KeyVersion
from local import minting
from local.federation_key_file import FederationKeyFile
from local.practice.federation import parties
from local.practice.federation.endpoint import TokenEndpoint
from local.practice.provider import make_provider
from local.provider_key_file import ProviderKeyFile
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger
from local.sqlite.state_file import StateFile
from local.urls import Urls
from tests.contracts import samples
from tests.every_event import every_event
from tests.own_issuer import Clock
from tests.practice_server import serving

BROKER = "http://127.0.0.1:8080"
OTHERS = ("openrouter", "gemini", "azure-openai", "github-app")
POLICY = f"""\
keys:
  openai: {{provider: openai, federated: {parties.POLICY["openai"]}}}
  anthropic: {{provider: anthropic, federated: {parties.POLICY["anthropic"]}}}
  set: {{provider: generic}}
issuers:
  ci: {{url: "https://ci.example", audience: keybroker}}
grants:
  one: {{key: openai, to: {{issuer: ci, claims: {{sub: a}}}}, scope: ["GET:/v1/models"], quota: {{tokens: 9/hour, calls: [9/minute]}}}}
"""


ALL = POLICY.replace(
    "  set: ",
    "".join(f"  {name}: {{provider: {name}, federated: {parties.POLICY[name]}}}\n" for name in OTHERS) + "  set: ",
)
"""The same with every provider that is asked over HTTP."""


@dataclass
class Federated:
    """One. clock: the installation's. provider_clock: the providers'. endpoints: by provider."""

    directory: Path
    state: StateFile
    urls: Urls
    endpoints: dict[str, TokenEndpoint]
    provider_clock: Clock
    clock: Clock = field(default_factory=Clock)

    def pass_time(self, seconds: float) -> None:
        """Move every clock."""
        self.clock.now += seconds
        self.provider_clock.now += seconds

    def minter(self) -> Minter:
        """Another minter, as another process would be."""
        return minting.minter(self.directory, self.urls, self.state, self.clock)

    @property
    def control(self) -> SqliteControl:
        return SqliteControl(self.state)

    @property
    def file(self) -> ProviderKeyFile:
        return ProviderKeyFile(self.directory / "provider-keys.json")

    def apply(self, text: str) -> None:
        """Put a policy in force."""
        parsed = policy.parse(text, rules=policy.InstallationRules({}, loopback_issuers=True))
        version = self.control.current().version
        self.control.apply(parsed, text, version, samples.event("policy.applied", at=int(self.clock())))

    def key(self, name: str = "openai") -> KeyInfo:
        """What is known of a key."""
        found = self.control.key_info(name)
        assert found is not None
        return found

    def version(self, name: str = "openai") -> KeyVersion:
        """The version in force."""
        found = self.key(name).current
        assert found is not None
        return found

    def works(self, name: str = "openai") -> bool:
        """Whether the provider takes the value that is in force."""
        value = self.file.get(name, self.version(name).version).value
        return self.endpoints[name].minted.accepts(value, self.provider_clock())

    def events(self, kind: str) -> list[Event]:
        """The audit's events of a kind, the newest first."""
        return every_event(SqliteLedger(self.state), Query({"kind": kind}))

    def everything(self) -> str:
        """All that the audit holds."""
        return json.dumps([one.to_json() for one in every_event(SqliteLedger(self.state), Query())])


@functools.cache
def app_key() -> tuple[str, dict[str, str]]:
    """The private key of an App, and the public one."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    public = {
        name: str(value)
        for name, value in RSAAlgorithm.to_jwk(key.public_key(), as_dict=True).items()
        if name != "key_ops"
    }
    return key.private_bytes(*form).decode(), {**public, "kid": "app", "alg": "RS256", "use": "sig"}


@contextlib.contextmanager
def federated(directory: Path) -> Iterator[Federated]:
    """Make an installation with POLICY in force, whose keys were never minted yet."""
    StateFile.create(directory / "state.db")
    state, clock = StateFile(directory / "state.db", durable=False), Clock()
    pem, jwk = app_key()
    FederationKeyFile(directory / "federation-keys.json").set_app_key("Iv23practice", pem)
    endpoints = {**parties.of(BROKER, clock), "github-app": parties.app({"keys": [jwk]}, clock)}
    with serving(make_provider({}, federated=endpoints)) as url:
        made = Federated(directory, state, Urls(BROKER, "http://edge", url, None), endpoints, clock)
        for name, endpoint in endpoints.items():
            if endpoint.issuer is None or name == "github-app":
                continue
            endpoint.issuer.source = lambda: {"keys": minting.Parts(directory, made.urls, made.clock).jwks()}
        made.apply(POLICY)
        try:
            yield made
        finally:
            state.close()
