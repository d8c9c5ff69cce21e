"""The function that looks after the audit: it seals the chain, and exports events to a bucket or a stream.

It runs on a schedule, with a role of its own, and has no entry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from chalicelib.aws import clients
from chalicelib.aws.audit_chain import DynamoAuditChain
from chalicelib.aws.audit_destinations import Bucket, Destination, Stream
from chalicelib.aws.audit_export import FORMATS, AuditExport
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.errors import NotConfigured

SECONDS = 200.0
"""Seconds after which nothing more is begun; the function is ended after 300. What is left is for the next run."""
FIRST = 1_767_225_600
"""Where a first export begins, epoch seconds: 2026, before there was any event."""
_NAMES = ("region", "control", "counters", "ledger")


class AuditConfig(NamedTuple):
    """What the function reads from environment variables: `KEYBROKER_` and the field's name in capitals."""

    region: str
    """`AWS_REGION`."""
    control: str
    counters: str
    ledger: str
    """The names of the tables."""
    bucket: str
    """Where events are exported to; "": nowhere."""
    stream: str
    """A delivery stream of Firehose, for the same; "": none."""
    form: str
    """One of FORMATS."""
    claims: bool
    """Whether the callers' claims are exported."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> AuditConfig:
        """Read it; raises NotConfigured for a variable that is missing or malformed."""
        found = {name: environ.get(f"KEYBROKER_{name.upper()}", "") for name in (*_NAMES, "bucket", "stream", "form")}
        found["region"] = environ.get("AWS_REGION", "")
        for name in _NAMES:
            if not found[name]:
                raise NotConfigured(hint=f"KEYBROKER_{name.upper()} is missing")
        claims = environ.get("KEYBROKER_CLAIMS", "false")
        if found["form"] not in FORMATS or claims not in ("true", "false"):
            raise NotConfigured(
                hint=f"KEYBROKER_FORM must be one of {', '.join(FORMATS)}, KEYBROKER_CLAIMS true or false"
            )
        return cls(**found, claims=claims == "true")


def handler(_event: object, _context: object) -> None:
    """Do what is due. Whatever fails is raised, and counts as an error of the function."""
    config = AuditConfig.read(os.environ)
    tables = Tables(make_client(config.region), config.control, config.counters, config.ledger)
    begun = time.monotonic()
    run(config, tables, destinations(config), int(time.time()), lambda: time.monotonic() - begun < SECONDS)


def destinations(config: AuditConfig) -> list[Destination]:
    """Return where events are exported to: nowhere, or one place."""
    if config.bucket:
        return [Bucket(clients.patient("s3", config.region), config.bucket, "audit/")]
    if config.stream:
        return [Stream(clients.patient("firehose", config.region), config.stream)]
    return []


def run(
    config: AuditConfig, tables: Tables, exported_to: list[Destination], now: int, more: Callable[[], bool]
) -> None:
    """Seal first: what is exported is in the chain by then. Raises Unavailable."""
    DynamoAuditChain(tables).seal(now, more)
    for one in exported_to:
        AuditExport(tables, one, config.form, claims=config.claims).run(now, FIRST, more)
