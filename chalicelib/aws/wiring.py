"""The broker's ports over AWS. Each door gets what it needs, and of the rest a port that refuses whatever is asked."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from chalicelib.aws import client as aws_client
from chalicelib.aws import cloudwatch
from chalicelib.aws import tables as dynamodb
from chalicelib.aws.config import BrokerConfig
from chalicelib.aws.jwks import live_keys
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.aws.signing import KmsSigner
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import Unavailable
from chalicelib.exchange.exchange import Broker
from chalicelib.http.messages import Ports
from chalicelib.issuers.jwks import Jwks, get_json
from chalicelib.issuers.presets import GENERIC, PRESETS


class _Absent:
    """A port of the other door. It could do nothing here, since this function's role has no right to."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Unavailable("not_at_this_door")

    def __call__(self) -> NoReturn:
        raise Unavailable("not_at_this_door")


_ABSENT: Any = _Absent()


def ports_on_aws(environ: Mapping[str, str] = os.environ) -> Ports:
    """Make the ports of the door that this function is. Nothing is asked of AWS yet.

    Raises Unavailable if the environment does not say all that it needs (`BrokerConfig`).
    """
    cloudwatch.start(environ.get("KEYBROKER_DOOR", ""))
    try:
        config = BrokerConfig.read(environ)
    except ValueError as error:
        raise Unavailable("not_configured") from error
    client = dynamodb.make_client(config.region)
    tables = dynamodb.Tables(client, config.control, config.counters, config.ledger)
    return _public(config, tables) if config.door == "public" else _administrators(config, tables)


def _public(config: BrokerConfig, tables: dynamodb.Tables) -> Ports:
    ledger = DynamoLedger(tables)
    broker = Broker(
        ledger=cloudwatch.LoggedLedger(ledger),
        keys=Jwks(get_json),
        signer=KmsSigner(functools.partial(aws_client.make, "kms", config.region), config.signing_key),
        signing_keys=DynamoSigningKeys(tables),
        url=config.url,
        edge_url=config.edge_url,
        identities=frozenset(preset.identity for preset in (*PRESETS.values(), GENERIC)),
    )
    return Ports(
        broker=broker,
        revocations=DynamoRevocations(tables),
        audit=ledger,
        policies=_ABSENT,
        pins=_ABSENT,
        usage=_ABSENT,
        keys=_ABSENT,
        key_store=_ABSENT,
        origins=_ABSENT,
        rules=_ABSENT,
        jwks=functools.partial(live_keys, tables),
        clock=_clock,
        new_id=_new_id,
    )


def _administrators(config: BrokerConfig, tables: dynamodb.Tables) -> Ports:
    # Imported here: the public door's cold start does without them, the policy's reader above all.
    from chalicelib.aws.control import DynamoControl  # noqa: PLC0415
    from chalicelib.aws.policies import DynamoPolicies  # noqa: PLC0415
    from chalicelib.aws.provider_keys import SecretsManagerKeyStore  # noqa: PLC0415
    from chalicelib.aws.usage import DynamoUsage  # noqa: PLC0415
    from chalicelib.policy import compile as policy  # noqa: PLC0415
    from chalicelib.providers.origins import Origins  # noqa: PLC0415

    control = DynamoControl(tables)
    vault = functools.partial(aws_client.make, "secretsmanager", config.region)
    explaining = Broker(_ABSENT, Jwks(get_json), _ABSENT, _ABSENT, url="", edge_url="", identities=frozenset())
    return Ports(
        broker=explaining,  # the keys of issuers alone, with which `explain` verifies
        revocations=DynamoRevocations(tables),
        audit=DynamoLedger(tables),
        policies=DynamoPolicies(tables),
        pins=control,
        usage=DynamoUsage(tables),
        keys=control,
        key_store=SecretsManagerKeyStore(vault, config.secrets_prefix, config.secrets_key),
        origins=Origins(),
        rules=policy.DEPLOYED,
        jwks=_ABSENT,
        clock=_clock,
        new_id=_new_id,
    )


def _clock() -> int:
    return int(time.time())


def _new_id() -> str:
    return secrets.token_urlsafe(16)
