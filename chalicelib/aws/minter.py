"""The minter: a function without an entry, the only one whose role may sign assertions and write minted values.

A schedule runs it every minute; the administration, with `{"try": "<key>", "actor": …, "request_id": …}`, for one mint whose
credential is not kept.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chalicelib.aws import clients
from chalicelib.aws.cloudwatch import NAMESPACE
from chalicelib.aws.control import DynamoControl
from chalicelib.aws.data_keys import DataKeys
from chalicelib.aws.dynamodb import Tables, make_client
from chalicelib.aws.federation_keys import KmsFederationKeys
from chalicelib.aws.kms_means import Ask, Parts
from chalicelib.aws.ledger import DynamoLedger
from chalicelib.aws.mint_notes import DynamoMintNotes
from chalicelib.aws.minted_key_store import MintedKeyStore
from chalicelib.errors import NotConfigured, Refusal, Unavailable
from chalicelib.federation.minter import RENEWED, SUPERSEDED, Minter
from chalicelib.federation.notes import Asked, MintNote, Trial
from chalicelib.issuers import fetch
from chalicelib.providers.errors import NoSuchKey
from chalicelib.providers.origins import Origins
from chalicelib.providers.versions import KeyInfo

_NAMES = ("region", "deployment", "control", "ledger", "url", "minted_key")

Write = Callable[[str], object]
"""Writes to the function's log."""


class MinterConfig(NamedTuple):
    """What the function reads from environment variables: `KEYBROKER_` and the field's name in capitals."""

    region: str
    """`AWS_REGION`, which Lambda sets."""
    deployment: str
    """The prefix of all names; the metrics' dimension `service`."""
    control: str
    ledger: str
    """The tables' names."""
    url: str
    """The broker's URL, below which is the issuer `/federation`."""
    minted_key: str
    """The ARN of the KMS key that minted values are encrypted with."""
    federation_keys: tuple[str, ...] = ()
    """The ARNs of the KMS keys of our own issuer, with commas between them; an older one first, none without one."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> MinterConfig:
        """Read it; raises NotConfigured for a variable that is missing or malformed."""
        found = {name: environ.get(f"KEYBROKER_{name.upper()}", "") for name in _NAMES}
        found["region"] = environ.get("AWS_REGION", "")
        for name, value in found.items():
            if not value or (name == "url" and (not value.startswith("https://") or value.endswith("/"))):
                raise NotConfigured(hint=f"KEYBROKER_{name.upper()} is missing or malformed")
        keys = (one.strip() for one in environ.get("KEYBROKER_FEDERATION_KEYS", "").split(","))
        return cls(**found, federation_keys=tuple(one for one in keys if one))


class MintingFailed(Exception):  # noqa: N818  what happened
    """A run came to nothing. SECURITY: the kind of fault, never its text (test_a_fault_is_no_text_in_the_log)."""


@dataclass(frozen=True, slots=True)
class Function:
    """What a run needs. clock: epoch seconds."""

    config: MinterConfig
    keys: DynamoControl
    issuer: KmsFederationKeys
    minter: Minter
    clock: Callable[[], int]


def handler(event: Mapping[str, object], _context: object) -> dict[str, Any] | None:
    """Mint what is due, or try one key. Whatever fails is raised; no heartbeat is an alarm."""
    write, tried = sys.stdout.write, event.get("try")
    try:
        function = _function(MinterConfig.read(os.environ))
        if isinstance(tried, str):
            asked = Asked(*(str(event.get(name, "")) for name in Asked._fields))
            return trial(function, tried, asked)._asdict()
        run(function, write)
    except Exception as fault:  # noqa: BLE001  whatever it is: its text must not reach the log
        reason = fault.reason if isinstance(fault, Unavailable) else type(fault).__name__
        write(json.dumps({"level": "ERROR", "message": "minting", "reason": reason}) + "\n")
        # SECURITY: no cause, since Lambda logs its text, which may quote anything (test_a_fault_is_no_text_in_the_log).
        raise MintingFailed(reason) from None
    return None


@functools.cache
def _function(config: MinterConfig) -> Function:
    return made(config, lambda: int(time.time()))


def made(config: MinterConfig, clock: Callable[[], int], ask: Ask = fetch.ask) -> Function:
    """Return what a run needs. ask: makes requests to providers."""
    tables = Tables(make_client(config.region), config.control, "", config.ledger)
    kms = functools.cache(functools.partial(clients.make, "kms", config.region))
    issuer = KmsFederationKeys(kms, tables, config.federation_keys)
    parts = Parts(issuer, kms, config.url, config.deployment, config.region, clock, _new_id, ask)
    keys, store = DynamoControl(tables), MintedKeyStore(tables, DataKeys(config.minted_key, clients.make))
    notes, audit = DynamoMintNotes(tables), DynamoLedger(tables)
    minter = Minter(keys, store, notes, audit, parts.means, Origins(), clock, _new_id)
    return Function(config, keys, issuer, minter, clock)


def run(function: Function, write: Write) -> None:
    """Publish the issuer's keys, mint what is due, and write a line for each outcome, then the metrics; raises Unavailable."""
    try:
        function.issuer.published(function.clock())
    except Unavailable as fault:  # what AWS vouches for is minted all the same
        _tell(function, write, "", fault.reason)
    for key, outcome in function.minter.renew_due().items():
        _tell(function, write, key, outcome)
    values = measured(function.keys.known_keys(), function.minter.notes.mint_notes(), function.clock())
    write(json.dumps(embedded(values, function.config.deployment, function.clock())) + "\n")


def trial(function: Function, key: str, asked: Asked) -> Trial:
    """Mint once for a key and keep nothing but an event; raises Unavailable where the key cannot be read."""
    info = function.keys.key_info(key)
    if info is None:
        return Trial(problem=NoSuchKey.reasons[0])
    try:
        return function.minter.try_once(info, asked)
    except Refusal as refusal:
        return Trial(problem=refusal.reason)


def _tell(function: Function, write: Write, key: str, outcome: str) -> None:
    # SECURITY: a key's name and a word; JSON keeps it one line (test_nothing_minted_is_in_the_log).
    level = "INFO" if outcome in (RENEWED, SUPERSEDED) else "WARNING"
    line = {"level": level, "service": function.config.deployment, "message": "minting", "key": key, "reason": outcome}
    write(json.dumps(line) + "\n")


def measured(keys: Iterable[KeyInfo], notes: Mapping[str, MintNote], now: int) -> dict[str, float]:
    """Return the metrics of a run. now: epoch seconds.

    KeyExpiresIn: the least part of a credential's life that is left, in per cent; 0 for one that was never minted, left
    out without federated keys. MintDenied: keys that a provider refuses.
    """
    federated = [one for one in keys if one.federated is not None]
    denied = sum(one.name in notes and notes[one.name].denied for one in federated)
    left = {"KeyExpiresIn": min(_left(one, now) for one in federated)} if federated else {}
    return {"MinterHeartbeat": 1, "MintDenied": denied, **left}


def _left(info: KeyInfo, now: int) -> float:
    current = info.current
    if current is None or not current.minted_for:
        return 0.0
    return round(max(0.0, 100 * (current.expires - now) / max(1, current.expires - current.at)), 1)


def embedded(values: Mapping[str, float], deployment: str, now: int) -> Mapping[str, object]:
    """Return metrics in CloudWatch's embedded format, with the dimension `service`."""
    named = [{"Name": name, "Unit": "Percent" if name == "KeyExpiresIn" else "Count"} for name in values]
    about = {"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": named}
    return {"_aws": {"Timestamp": now * 1000, "CloudWatchMetrics": [about]}, "service": deployment, **values}


def _new_id() -> str:
    return secrets.token_urlsafe(16)
