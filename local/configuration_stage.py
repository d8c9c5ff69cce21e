"""`[tables]` of a configuration file: the tables of a deployed stage, in place of a state directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_TABLE = "tables"
_DOORS = ("broker", "edge")
_NOWHERE = {
    "state.directory": "nothing beside [tables]: the stage's tables are the state",
    "state.keep_records_days": "nothing beside [tables]: the stage's tables keep the records",
    "policy": "nothing beside [tables]: the stage's policy is in force; change it with `keybroker policy apply`",
    "administration": "nothing beside [tables]: the stage's own administration stays, where AWS's IAM says who may do what",
    "broker.public_url": "nothing beside [tables]: it is tables.issuer",
}
"""What a file with `[tables]` says nowhere, and why."""
_MOST_DRAIN = 300
"""Seconds that a server with a state directory drains at most."""
_ONLY_HERE = ("timeouts.drain_delay_seconds", "timeouts.keep_alive_seconds")


@dataclass(frozen=True, slots=True)
class StageTables:
    """Of which stage, and what is served of it.

    region: of the tables and the signing key
    stage: the prefix of the tables and of the provider keys' secrets
    issuer: the broker's URL, the `iss` of its tokens
    edge_url: where the broker's tokens open calls
    signing_key: the ARNs of the KMS keys that may sign, with commas between them; "" without the broker's door
    secrets_region: of the provider keys
    doors: which are opened, of `broker` and `edge`: those that the file names
    drain_delay: seconds in which calls are still taken once the server is to stop
    keep_alive: seconds that a connection to the edge may stay open without a request
    """

    region: str
    stage: str
    issuer: str
    edge_url: str
    signing_key: str
    secrets_region: str
    doors: tuple[str, ...]
    drain_delay: int
    keep_alive: int


def is_of_a_stage(values: Mapping[str, Any]) -> bool:
    """Whether a file says that the tables of a stage are the state."""
    return isinstance(values.get(_TABLE), dict)


def read(got: Callable[..., Any], values: Mapping[str, Any]) -> StageTables | None:
    """Return what a file says of them, None if it names none; of one with faults anything. got: its fields, read."""
    if not is_of_a_stage(values):
        return None
    region = got("tables.region", "")
    return StageTables(
        region=region,
        stage=got("tables.stage", ""),
        issuer=got("tables.issuer", ""),
        edge_url=got("tables.edge_url") or got("edge.public_url", ""),
        signing_key=got("tables.signing_key", ""),
        secrets_region=got("tables.secrets_region", region),
        doors=tuple(door for door in _DOORS if door in values),
        drain_delay=got("timeouts.drain_delay_seconds", 5),
        keep_alive=got("timeouts.keep_alive_seconds", 75),
    )


def faults(
    says: Callable[[str], bool], got: Callable[..., Any], values: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yield the field of each fault, what was found, and what is allowed. says: whether the file says anything of a field."""
    if not is_of_a_stage(values):
        yield from ((name, "a value", "nothing without [tables]") for name in _ONLY_HERE if says(name))
        if got("timeouts.drain_seconds", 0) > _MOST_DRAIN:
            yield "timeouts.drain_seconds", str(got("timeouts.drain_seconds")), f"1 to {_MOST_DRAIN} without [tables]"
        return
    yield from ((name, "a value", allowed) for name, allowed in _NOWHERE.items() if says(name))
    if not any(door in values for door in _DOORS):
        yield _TABLE, "no door", "[broker] or [edge] beside it, or both: those are opened"
    if got("state.revocation_probe_seconds", 0) and "broker" not in values:
        yield (
            "state.revocation_probe_seconds",
            "no [broker]",
            "nothing without [broker], which signs the token that is revoked",
        )
    for name, allowed in _needed(values).items():
        if not says(name):
            yield name, "nothing", allowed


def _needed(values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the fields without which the doors cannot be opened, and what they say: none has a default that could be another stage's."""
    needed = {
        "tables.region": "a region such as eu-central-1",
        "tables.stage": "the stage's name, the prefix of its tables",
        "tables.issuer": "the broker's URL as it was deployed, the `iss` of its tokens",
    }
    if "broker" in values:
        needed["tables.signing_key"] = "the ARN of the KMS key that signs, an output of the stage's stack PREFIX-keys"
    if "edge" in values:
        needed["edge.public_url"] = "the URL that callers use"
    else:
        needed["tables.edge_url"] = "the URL at which the broker's tokens open calls"
    return needed
