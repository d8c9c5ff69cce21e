"""What an installation on AWS runs with: the broker's environment variables, and what is baked into the edge's zip."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from chalicelib.aws import endpoints
from chalicelib.aws.edge_client import EdgeClient, Endpoint
from chalicelib.aws.edge_state import DynamoEdgeState
from chalicelib.aws.minted_keys import MintedKeys
from chalicelib.aws.provider_keys import SecretsManagerProviderKeys
from chalicelib.aws.published_keys import PublishedSigningKeys
from chalicelib.aws.round_trip import CALL_SECONDS
from chalicelib.aws.sigv4 import Credentials
from chalicelib.edge.admission import Edge
from chalicelib.errors import NotConfigured

EDGE_FILE = "keybroker-edge.json"
"""The file beside edge.py in the edge's zip: Lambda@Edge has no environment variables."""
_BAKED = Path(__file__).resolve().parents[2] / EDGE_FILE


class EdgeConfig(NamedTuple):
    """What is baked into the edge's zip: nothing that must change within seconds, since a new zip takes minutes to deploy."""

    region: str
    """The tables' region."""
    control: str
    """The name of the table `control`."""
    counters: str
    """The name of the table `counters`."""
    secrets_region: str
    """The region of the provider keys' secrets."""
    secrets_prefix: str
    """A key's secret is `<prefix>/<name>`, and the KMS key of minted values has the alias `<prefix>-minted`."""
    issuer: str
    """The broker's URL, the `iss` of its tokens."""
    edge_url: str
    """The edge's own URL."""

    @classmethod
    def parse(cls, text: str) -> EdgeConfig:
        """Read it from JSON; raises ValueError for a member that is missing, unknown or malformed."""
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
    """What the broker's functions read from environment variables: `KEYBROKER_` and the field's name in capitals."""

    door: str
    """`public` or `admin`."""
    region: str
    """The region of everything below: `AWS_REGION`, which Lambda sets."""
    control: str
    """The name of the table `control`."""
    ledger: str
    """The name of the table `ledger`."""
    url: str = ""
    """The broker's URL, the `iss` of its tokens. Public door only."""
    edge_url: str = ""
    """The edge's URL, where tokens are used. Public door only."""
    signing_key: str = ""
    """The ARNs of the KMS keys that may sign tokens, with commas between them. The first one signs unless the state names
    another (`POST /admin/signing`). Public door only."""
    counters: str = ""
    """The name of the table `counters`."""
    secrets_prefix: str = ""
    """A provider key's secret is `<prefix>/<name>`. Administrators' door only."""
    secrets_key: str = ""
    """The KMS key that encrypts those secrets. Administrators' door only."""
    gateway: bool = False
    """Whether gateways serve this stage, which see answers; `true` or `false`, which it is unless said. Administrators' door only."""

    def signing_keys(self) -> tuple[str, ...]:
        """Return the ARNs of the KMS keys that may sign tokens."""
        return tuple(one.strip() for one in self.signing_key.split(","))

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> BrokerConfig:
        """Read it; raises ValueError for a variable that is missing or malformed. There are no defaults but `gateway`'s."""
        door = environ.get("KEYBROKER_DOOR", "")
        if door not in _OF_DOOR:
            raise ValueError(f"KEYBROKER_DOOR must be one of {', '.join(_OF_DOOR)}")
        variables = {"region": "AWS_REGION"}
        variables |= {name: f"KEYBROKER_{name.upper()}" for name in ("control", "counters", "ledger", *_OF_DOOR[door])}
        found = {name: environ.get(variable, "") for name, variable in variables.items()}
        for name, value in found.items():
            if not value:
                raise ValueError(f"{variables[name]} is not set")
            if name in ("url", "edge_url"):
                _check_url(variables[name], value)
        return cls(door=door, gateway=_is_true("KEYBROKER_GATEWAY", environ), **found)


def _is_true(name: str, environ: Mapping[str, str]) -> bool:
    said = environ.get(name, "false")
    if said not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return said == "true"


_OF_DOOR: Mapping[str, tuple[str, ...]] = {
    "public": ("url", "edge_url", "signing_key"),
    "admin": ("secrets_prefix", "secrets_key"),
}
"""The variables that only one door reads."""


def _check_url(name: str, value: str) -> None:
    if not value.startswith("https://") or value.endswith("/"):
        raise ValueError(f"{name} must be an https:// URL without a slash at its end")


AHEAD: Mapping[str, int] = {"dynamodb": 2, "secretsmanager": 1}
"""Connections that a first call needs, beside the one by which the signing keys were read."""


def edge_on_aws(baked: Path = _BAKED, *, ahead: bool = False) -> tuple[Edge, Callable[[], int]]:
    """Return what the edge function needs, and its clock; raises Unavailable if no valid configuration was baked into its zip.

    ahead: connect and read the signing keys, as far as CALL_SECONDS allow; what is missing then, the first call does.
    """
    try:
        config = EdgeConfig.parse(baked.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotConfigured(hint=str(error)) from error
    client = EdgeClient(_endpoints(config, os.environ))
    return edge_over(config, client, ahead=ahead), client.now


def edge_over(config: EdgeConfig, client: EdgeClient, *, ahead: bool = False) -> Edge:
    """Return what an edge needs, over a client of its own. ahead: see `edge_on_aws`."""
    signing_keys = PublishedSigningKeys(client, config.control)
    provider_keys = SecretsManagerProviderKeys(client, config.secrets_prefix)
    if ahead:
        client.open(AHEAD, signing_keys.reading(client.now()), CALL_SECONDS)
    return Edge(
        state=DynamoEdgeState(client, config.control, config.counters, provider_keys.ahead),
        signing_keys=signing_keys,
        provider_keys=MintedKeys(client, config.control, config.secrets_prefix, provider_keys),
        issuer=config.issuer,
        url=config.edge_url,
    )


def client_of(
    config: EdgeConfig, environ: Mapping[str, str], credentials: Callable[[], Credentials | None]
) -> EdgeClient:
    """Return a client for an edge that is no function of Lambda@Edge. environ, credentials: see `endpoints.of`, `EdgeClient`."""
    return EdgeClient(_endpoints(config, environ), credentials)


def _endpoints(config: EdgeConfig, environ: Mapping[str, str]) -> Mapping[str, Endpoint]:
    regions = {"dynamodb": config.region, "kms": config.region, "secretsmanager": config.secrets_region}
    return endpoints.of(regions, environ)
