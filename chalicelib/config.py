"""What an installation on AWS runs with. The broker is not wired to the AWS adapters yet: it refuses every request."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from chalicelib import aws_client, dynamodb
from chalicelib.admission import Edge
from chalicelib.dynamodb_gate import DynamoGate
from chalicelib.dynamodb_signing_keys import DynamoSigningKeys
from chalicelib.errors import Unavailable
from chalicelib.provider_key_secrets import SecretsManagerProviderKeys

EDGE_FILE = "keybroker-edge.json"
"""Lies beside edge.py in the edge's zip, for Lambda@Edge has no environment variables."""
_BAKED = Path(__file__).resolve().parent.parent / EDGE_FILE


@dataclass(frozen=True, slots=True)
class EdgeConfig:
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
        names = {one.name for one in fields(cls)}
        if not isinstance(found, dict) or found.keys() != names:
            raise ValueError(f"a JSON object with the members {', '.join(sorted(names))} and no others")
        for name, value in found.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be text")
        for name in ("issuer", "edge_url"):
            if not found[name].startswith("https://") or found[name].endswith("/"):
                raise ValueError(f"{name} must be an https:// URL without a slash at its end")
        return cls(**found)


def ports_on_aws() -> NoReturn:
    """Make the broker's ports; raises Unavailable, since this version's broker has state for one machine only."""
    raise Unavailable("not_configured")


def edge_on_aws(baked: Path = _BAKED) -> Edge:
    """Make what the edge function needs; raises Unavailable if nothing that is any use was baked into its zip."""
    try:
        config = EdgeConfig.parse(baked.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unavailable("not_configured") from error
    client = dynamodb.make_client(config.region)
    tables = dynamodb.Tables(client, config.control, config.counters, ledger="")  # none of the edge's business
    secrets = functools.partial(aws_client.make, "secretsmanager", config.secrets_region)
    return Edge(
        gate=DynamoGate(tables),
        signing_keys=DynamoSigningKeys(tables),
        provider_keys=SecretsManagerProviderKeys(secrets, config.secrets_prefix),
        issuer=config.issuer,
        url=config.edge_url,
    )
