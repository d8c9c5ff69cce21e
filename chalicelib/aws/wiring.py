"""The ports of each door over AWS. Nothing is asked of AWS until a port is used."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalicelib.aws import clients, cloudwatch
from chalicelib.aws.config import BrokerConfig
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.federation_jwks import published_keys
from chalicelib.aws.jwks import live_keys
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.own_usage import DynamoOwnUsage
from chalicelib.aws.revocations import DynamoRevocations
from chalicelib.aws.signing import KmsSigner
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.errors import NotConfigured
from chalicelib.exchange.exchange import Broker
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers.jwks import Jwks, get_json
from chalicelib.issuers.presets import GENERIC, PRESETS
from chalicelib.providers.federated import AWS_STS

if TYPE_CHECKING:  # the public door starts without the administrators' modules
    from chalicelib.admin.ports import AdminPorts
    from chalicelib.policy.compile import InstallationRules


def public_ports(environ: Mapping[str, str] = os.environ) -> PublicPorts:
    """Return the public door's ports.

    Raises Unavailable if the environment is another door's, or lacks something that `BrokerConfig` reads.
    """
    config, tables = _start(environ, "public")
    return public_over(config, tables, functools.partial(clients.make, "kms", config.region))


def public_over(config: BrokerConfig, tables: Tables, kms: Callable[[], Any]) -> PublicPorts:
    """Return the public door's ports over clients that are given. kms: makes one, at its first use."""
    broker = Broker(
        ledger=cloudwatch.LoggedLedger(DynamoLedger(tables)),
        keys=Jwks(get_json),
        signer=KmsSigner(kms, *config.signing_keys()),
        signing_keys=DynamoSigningKeys(tables),
        url=config.url,
        edge_url=config.edge_url,
        identities=frozenset(preset.identity for preset in (*PRESETS.values(), GENERIC)),
    )
    return PublicPorts(
        broker=broker,
        revocations=DynamoRevocations(tables),
        usage=DynamoOwnUsage(tables),
        jwks=functools.partial(live_keys, tables),
        federation_jwks=functools.partial(published_keys, tables),
        clock=_clock,
        new_id=_new_id,
    )


def admin_ports(environ: Mapping[str, str] = os.environ) -> AdminPorts:
    """Return the administrators' door's ports; raises as `public_ports`."""
    # Imported here: the public door's cold start does without them, the policy's reader above all.
    from chalicelib.admin.ports import AdminPorts  # noqa: PLC0415
    from chalicelib.aws.audit_chain import DynamoAuditChain  # noqa: PLC0415
    from chalicelib.aws.control import DynamoControl  # noqa: PLC0415
    from chalicelib.aws.policies import DynamoPolicies  # noqa: PLC0415
    from chalicelib.aws.provider_key_store import SecretsManagerKeyStore  # noqa: PLC0415
    from chalicelib.aws.signing_key_store import DynamoSigningKeyStore  # noqa: PLC0415
    from chalicelib.aws.usage import DynamoUsage  # noqa: PLC0415
    from chalicelib.issuers.key_probe import HttpKeyProbe  # noqa: PLC0415
    from chalicelib.providers.origins import Origins  # noqa: PLC0415

    config, tables = _start(environ, "admin")
    control = DynamoControl(tables)
    secrets_manager = functools.partial(clients.make, "secretsmanager", config.region)
    return AdminPorts(
        issuer_keys=Jwks(get_json),
        revocations=DynamoRevocations(tables),
        audit=DynamoLedger(tables),
        chain=DynamoAuditChain(tables),
        policies=DynamoPolicies(tables),
        pins=control,
        usage=DynamoUsage(tables),
        keys=control,
        key_store=SecretsManagerKeyStore(secrets_manager, config.secrets_prefix, config.secrets_key),
        key_probe=HttpKeyProbe(),
        **_replacing(config, secrets_manager),
        signing_key_lists=control,
        signing_key_store=DynamoSigningKeyStore(tables),
        **_seen_at_edges(config, tables),
        **_federating(environ, tables),
        origins=Origins(),
        rules=_rules(config, environ.get("KEYBROKER_URL", "")),
        clock=_clock,
        new_id=_new_id,
    )


def _rules(config: BrokerConfig, url: str) -> InstallationRules:
    """Return the policy's rules. url: the broker's, "" where the administration was not told it."""
    from chalicelib.federation.reach import rules_of  # noqa: PLC0415  as above
    from chalicelib.policy.compile import DEPLOYED  # noqa: PLC0415

    # SECURITY: a limit of what models take is a fault unless the configuration says that there are gateways
    # (test_a_budget_needs_a_gateway).
    return rules_of(replace(DEPLOYED, sees_answers=config.gateway, identity=AWS_STS), url)


def _seen_at_edges(config: BrokerConfig, tables: Tables) -> dict[str, Any]:
    """Return the administrators' ports for what edges found: refused calls of gateways are kept, the function's are in its log."""
    from chalicelib.aws.botocore_client import BotocoreClient  # noqa: PLC0415  as above
    from chalicelib.aws.refused_calls import DynamoRefusedCalls  # noqa: PLC0415
    from chalicelib.aws.response_times import DynamoResponseTimes  # noqa: PLC0415
    from chalicelib.aws.revocation_probes import DynamoRevocationProbes  # noqa: PLC0415

    client = BotocoreClient(tables.client)
    return {
        "revocation_probes": DynamoRevocationProbes(tables),
        "refused_calls": DynamoRefusedCalls(client, tables.counters),
        "response_times": DynamoResponseTimes(client, tables.counters),
        "edge_log": f"/aws/lambda/us-east-1.{config.secrets_prefix}-edge",
    }


def _replacing(config: BrokerConfig, secrets_manager: Callable[[], Any]) -> dict[str, Any]:
    """Return the administrators' ports that replace keys at their providers."""
    from chalicelib.aws.management_keys import SecretsManagerManagementKeys, management_prefix  # noqa: PLC0415  as above
    from chalicelib.aws.provider_key_store import SecretsManagerKeyStore  # noqa: PLC0415
    from chalicelib.issuers.fetch import send  # noqa: PLC0415
    from chalicelib.rotation.accounts import Accounts  # noqa: PLC0415

    prefix = management_prefix(config.secrets_prefix)
    return {
        "management_store": SecretsManagerKeyStore(secrets_manager, prefix, config.secrets_key),
        "accounts": Accounts(SecretsManagerManagementKeys(secrets_manager, config.secrets_prefix), send),
        "installation": config.secrets_prefix,
        "wait": time.sleep,
    }


def _federating(environ: Mapping[str, str], tables: Tables) -> dict[str, Any]:
    """Return the administrators' ports for federated keys. Assertions are signed by the minter's function alone."""
    from chalicelib.aws.mint_notes import DynamoMintNotes  # noqa: PLC0415  as above
    from chalicelib.aws.mint_trial import MintTrial  # noqa: PLC0415

    region, function = environ.get("AWS_REGION", ""), environ.get("KEYBROKER_MINTER", "")
    return {
        "mint_notes": DynamoMintNotes(tables),
        # Once: each attempt would mint another credential.
        "try_mint": MintTrial(functools.partial(clients.patient, "lambda", region, attempts=1), function),
        "federation_jwks": functools.partial(published_keys, tables),
        "broker_url": environ.get("KEYBROKER_URL", ""),
    }


def _start(environ: Mapping[str, str], door: str) -> tuple[BrokerConfig, Tables]:
    """Start logging to CloudWatch, read the environment, and make the tables."""
    cloudwatch.start(environ.get("KEYBROKER_DOOR", ""))
    try:
        config = BrokerConfig.read(environ)
    except ValueError as error:
        raise NotConfigured(hint=str(error)) from error
    if config.door != door:
        raise NotConfigured
    return config, Tables(make_client(config.region), config.control, config.counters, config.ledger)


def _clock() -> int:
    return int(time.time())


def _new_id() -> str:
    return secrets.token_urlsafe(16)
