"""The policy as stores keep it: one JSON text for each issuer, key and grant, the same in SQLite and in DynamoDB.

Readers are cached by the text. They are pure functions of it and what they return is immutable, so an entry is never
out of date; a text that changed is another entry.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from chalicelib.policy.grants import Grant
from chalicelib.principal import AWS
from chalicelib.providers.keys import KeyConfig
from chalicelib.revocation import RevocationTarget

if TYPE_CHECKING:  # the edge, which must start quickly, reads neither issuers nor policies
    from chalicelib.issuers.registry import Issuer
    from chalicelib.policy.compile import Policy

_KEPT = 1024
"""Texts of each kind whose values are kept, the least recently used first to go."""


def configs(policy: Policy) -> dict[RevocationTarget, str]:
    """Return the text of everything that a policy names, and of AWS, which is an issuer of every policy."""
    values = {
        RevocationTarget("issuer", AWS): {"name": AWS},
        **{RevocationTarget("key", name): policy.key(name) for name in policy.keys},
        **{RevocationTarget("issuer", one.url): one.to_json() for one in policy.issuers.values()},
        **{RevocationTarget("grant", name): one.to_json() for name, one in policy.grants.items()},
    }
    return {target: json.dumps(value) for target, value in values.items()}


@functools.lru_cache(maxsize=_KEPT)
def read_grant(text: str) -> Grant:
    """Return the grant that a text holds."""
    return Grant.from_json(json.loads(text))


@functools.lru_cache(maxsize=_KEPT)
def read_issuer(text: str) -> Issuer:
    """Return the OIDC issuer that a text holds; AWS's text holds none."""
    from chalicelib.issuers.registry import Issuer  # noqa: PLC0415  the edge reads no issuers

    return Issuer.from_json(json.loads(text))


@functools.lru_cache(maxsize=_KEPT)
def read_key(text: str, version: str = "") -> KeyConfig:
    """Return the key that a text holds. version: the one in force, for a store that keeps it beside the text."""
    stored = json.loads(text)
    return KeyConfig(stored["provider"], stored.get("version", version), stored.get("federated") is not None)


def read_rotate_after(text: str) -> int | None:
    """Return after how many seconds the value of the key that a text holds is due to be replaced; None if it never is."""
    found: int | None = json.loads(text).get("rotate_after")
    return found


def read_federated(text: str) -> dict[str, str] | None:
    """Return with which ids credentials are minted for the key that a text holds; None if its value is set."""
    found: dict[str, str] | None = json.loads(text).get("federated")
    return found


@functools.lru_cache(maxsize=_KEPT)
def read_signing_keys(text: str) -> tuple[str, ...]:
    """Return the `kid`s of the live signing keys that a text lists, in its order."""
    return tuple(json.loads(text)["signing"])


@functools.lru_cache(maxsize=_KEPT)
def read_signs(text: str) -> str:
    """Return the `kid` of the key that signs, "" if a text names none."""
    return str(json.loads(text).get("signs", ""))
