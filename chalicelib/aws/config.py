"""What an installation on AWS runs with: the broker's environment variables, and what is baked into the edge's zip."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from chalicelib.aws import clients, dynamodb
from chalicelib.aws.edge_state import DynamoEdgeState
from chalicelib.aws.provider_keys import SecretsManagerProviderKeys
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.edge.admission import Edge
from chalicelib.errors import NotConfigured

EDGE_FILE = "keybroker-edge.json"
"""Lies beside edge.py in the edge's zip, for Lambda@Edge has no environment variables."""
_BAKED = Path(__file__).resolve().parents[2] / EDGE_FILE


class EdgeConfig(NamedTuple):
    """What is baked into the edge's zip. Nothing that must change within seconds: a new zip takes minutes everywhere.

    region: of the tables. control, counters: their names. secrets_region, secrets_prefix: where the provider keys are;
    a key's secret is `<prefix>/<name>`. issuer: the broker's URL, the `iss` of its tokens. edge_url: the edge's own.
    """

    region: str
    control: str
    counters: str
    secrets_region: str
    secrets_prefix: str
    issuer: str
    edge_url: str

    @classmethod
    def parse(cls, text: str) -> EdgeConfig:
        """Read it; raises ValueError that says what is wrong. Every member has to be there, and no other."""
        found = json.loads(text)
        if not isinstance(found, dict) or found.keys() != set(cls._fields):
            raise ValueError(f"a JSON object with the members {', '.join(sorted(cls._fields))} and no others")
        for name, value in found.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be text")
        for name in ("issuer", "edge_url"):
            _check_url(name, found[name])
        return cls(**found)


class BrokerConfig(NamedTuple):
    """What a function of the broker is told by environment variables: each is `KEYBROKER_` and the name, in capitals.

    door: `public` or `admin`. control, ledger: names of tables. Of the public door alone, else "": url, the `iss` of its
    tokens; edge_url, where they are used; signing_key, the ARN of the KMS key that signs them. Of the administrators'
    alone: counters, a table's name; secrets_prefix, of the provider keys' secrets; secrets_key, what encrypts those.
    region: of all of these (`AWS_REGION`, which Lambda sets).
    """

    door: str
    region: str
    control: str
    ledger: str
    url: str = ""
    edge_url: str = ""
    signing_key: str = ""
    counters: str = ""
    secrets_prefix: str = ""
    secrets_key: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> BrokerConfig:
        """Read it; raises ValueError that says what is wrong. Nothing is guessed for what is not set."""
        door = environ.get("KEYBROKER_DOOR", "")
        if door not in _OF_DOOR:
            raise ValueError(f"KEYBROKER_DOOR must be one of {', '.join(_OF_DOOR)}")
        variables = {"region": "AWS_REGION"}
        variables |= {name: f"KEYBROKER_{name.upper()}" for name in ("control", "ledger", *_OF_DOOR[door])}
        found = {name: environ.get(variable, "") for name, variable in variables.items()}
        for name, value in found.items():
            if not value:
                raise ValueError(f"{variables[name]} is not set")
            if name in ("url", "edge_url"):
                _check_url(variables[name], value)
        return cls(door=door, **found)


_OF_DOOR: Mapping[str, tuple[str, ...]] = {
    "public": ("url", "edge_url", "signing_key"),
    "admin": ("counters", "secrets_prefix", "secrets_key"),
}
"""What one door is told and the other is not."""


def _check_url(name: str, value: str) -> None:
    if not value.startswith("https://") or value.endswith("/"):
        raise ValueError(f"{name} must be an https:// URL without a slash at its end")


def edge_on_aws(baked: Path = _BAKED) -> Edge:
    """Make what the edge function needs; raises Unavailable if nothing that is any use was baked into its zip."""
    try:
        config = EdgeConfig.parse(baked.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotConfigured(hint=str(error)) from error
    client = dynamodb.make_client(config.region)
    tables = dynamodb.Tables(client, config.control, config.counters, ledger="")  # none of the edge's business
    secrets = functools.partial(clients.make, "secretsmanager", config.secrets_region)
    return Edge(
        state=DynamoEdgeState(tables),
        signing_keys=DynamoSigningKeys(tables),
        provider_keys=SecretsManagerProviderKeys(secrets, config.secrets_prefix),
        issuer=config.issuer,
        url=config.edge_url,
    )
