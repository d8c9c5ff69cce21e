"""The minter's function over moto, beside practice providers that trust what it publishes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from chalicelib.audit import Event, Query
from chalicelib.aws import clients, minted_keys, minter
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.federation_jwks import published_keys
from chalicelib.aws.kms_means import app_alias
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.minted_keys import MintedKeys
from chalicelib.aws.minter import Function, MinterConfig
from chalicelib.aws.policies import DynamoPolicies
from chalicelib.issuers import fetch
from chalicelib.policy import compile as policy
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyInfo, KeyVersion
from local.practice.federation import parties
from local.practice.federation.endpoint import TokenEndpoint
from local.practice.provider import make_provider
from tests import moto_kms
from tests.contracts import samples
from tests.contracts.dynamodb_adapters import patience
from tests.every_event import every_event
from tests.faulty_dynamodb import Door, tables_behind
from tests.own_issuer import Clock
from tests.practice_server import serving

BROKER = "https://broker.example"
REGION = "us-east-1"
FEDERATED = ("anthropic", "openai")
OTHERS = ("azure-openai", "gemini", "github-app", "openrouter")
APP = "Iv23practice"


def policy_of(*names: str) -> str:
    """Return a policy with federated keys, each named as its provider, for which our own issuer vouches."""

    def ids(name: str) -> str:
        return parties.POLICY[name].replace("{", "{" if name == "github-app" else "{identity: broker, ")

    keys = "".join(f"  {name}: {{provider: {name}, federated: {ids(name)}}}\n" for name in names)
    return f"""\
keys:
{keys}  set: {{provider: generic}}
issuers:
  ci: {{url: "https://ci.example", audience: keybroker}}
grants:
  one: {{key: openai, to: {{issuer: ci, claims: {{sub: a}}}}, scope: ["GET:/v1/models"], quota: {{tokens: 9/hour, calls: [9/minute]}}}}
"""


@dataclass
class Deployed:
    """One. endpoints: the providers', by key. lines: what the function has written."""

    config: MinterConfig
    tables: Tables
    door: Door
    endpoints: dict[str, TokenEndpoint]
    practice: str
    clock: Clock
    kms: Any
    lines: list[str] = field(default_factory=list)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, within: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Ask a practice provider in place of the real one."""
        return fetch.ask(method, self.practice + urlsplit(url).path, headers, body, within)

    def apply(self, *names: str) -> None:
        """Put a policy with these keys in force."""
        text, policies = policy_of(*names), DynamoPolicies(self.tables)
        parsed = policy.parse(text, rules=policy.InstallationRules({}))
        event = samples.event("policy.applied", at=int(self.clock()))
        policies.apply(parsed, text, policies.current().version, event)

    def function(self) -> Function:
        """Return the function as another instance of it would be."""
        return minter.made(self.config, lambda: int(self.clock()), self.ask)

    def run(self) -> dict[str, str]:
        """Run it once; return the outcome by key, "" for what is of none."""
        before = len(self.lines)
        minter.run(self.function(), self.lines.append)
        told = [json.loads(line) for line in self.lines[before:]]
        return {one["key"]: one["reason"] for one in told if "reason" in one}

    def metrics(self) -> dict[str, float]:
        """Return what was measured last."""
        line = json.loads(self.lines[-1])
        [about] = line["_aws"]["CloudWatchMetrics"]
        assert (about["Namespace"], about["Dimensions"], line["service"]) == ("Keybroker", [["service"]], "kb")
        return {one["Name"]: line[one["Name"]] for one in about["Metrics"]}

    def pass_time(self, seconds: float) -> None:
        """Move every clock."""
        self.clock.now += seconds

    @property
    def control(self) -> DynamoControl:
        return DynamoControl(self.tables)

    def key(self, name: str) -> KeyInfo:
        """What is known of a key."""
        found = self.control.key_info(name)
        assert found is not None
        return found

    def version(self, name: str) -> KeyVersion:
        """The version in force."""
        found = self.key(name).current
        assert found is not None
        return found

    def at_the_edge(self, name: str) -> ProviderKey:
        """Read a key's version in force as the edge does."""
        keys = MintedKeys(self.door.edge_client, self.tables.control, self.config.deployment, Nothing())
        return keys.get(name, self.version(name).version)

    def works(self, name: str) -> bool:
        """Whether the provider takes what the edge would send."""
        return self.endpoints[name].minted.accepts(self.at_the_edge(name).value, self.clock())

    def events(self, kind: str) -> list[Event]:
        """The audit's events of a kind, the newest first."""
        return every_event(DynamoLedger(self.tables, self.clock), Query({"kind": kind}))


class Nothing:
    """Where no set value is."""

    def get(self, name: str, version: str) -> ProviderKey:
        """See `ProviderKeys.get`."""
        raise AssertionError(f"{name} {version} was not minted")


@contextlib.contextmanager
def deployed(door: Door, patch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """Deploy one with two federated keys and a key of each algorithm, whose provider keys were never minted."""
    moto_kms.mend(patch)
    kms: Any = clients.make("kms", REGION)
    arns = [_key(kms, KeySpec=spec, KeyUsage="SIGN_VERIFY") for spec in ("ECC_NIST_P256", "RSA_2048")]
    minted_key, app = _key(kms), _key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    clock = Clock()
    endpoints = {**parties.of(BROKER, clock), "github-app": parties.app({"keys": [_jwk(kms, app)]}, clock)}
    with (
        aliases(kms, {minted_keys.kms_alias("kb"): minted_key, app_alias("kb", APP): app}),
        serving(make_provider({}, federated=endpoints)) as url,
        tables_behind(door) as tables,
        patience(),
    ):
        config = MinterConfig(REGION, "kb", tables.control, tables.ledger, BROKER, minted_key, tuple(arns))
        made = Deployed(config, tables, door, endpoints, url, clock, kms)
        for name, endpoint in endpoints.items():
            if endpoint.issuer is not None and name != "github-app":
                endpoint.issuer.source = lambda: {"keys": list(published_keys(tables))}
        made.apply(*FEDERATED)
        yield made


@contextlib.contextmanager
def aliases(kms: Any, named: Mapping[str, str]) -> Iterator[None]:  # noqa: ANN401  botocore's
    """Name keys meanwhile."""
    for alias, key in named.items():
        kms.create_alias(AliasName=alias, TargetKeyId=key)
    try:
        yield
    finally:
        for alias in named:
            kms.delete_alias(AliasName=alias)


def _key(kms: Any, **members: str) -> str:  # noqa: ANN401  as above
    arn: str = kms.create_key(**members)["KeyMetadata"]["Arn"]
    return arn


def _jwk(kms: Any, arn: str) -> dict[str, str]:  # noqa: ANN401  as above
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    found = RSAAlgorithm.to_jwk(public, as_dict=True)
    return {**{name: str(found[name]) for name in ("kty", "n", "e")}, "kid": "app", "alg": "RS256", "use": "sig"}
