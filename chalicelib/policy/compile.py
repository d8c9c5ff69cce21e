"""The policy: what the file says, checked as a whole, as keys, issuers and grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chalicelib.issuers.presets import PRESETS
from chalicelib.issuers.registry import Issuer
from chalicelib.policy.checks import check_duration, check_one_of
from chalicelib.policy.compile_federated import compile_federated
from chalicelib.policy.compile_grant import compile_grant
from chalicelib.policy.compile_issuer import InstallationRules, check_urls, compile_issuer
from chalicelib.policy.faults import ABSENT, FAULTY, Fault, Faulty, InvalidPolicyError
from chalicelib.policy.grants import Grant
from chalicelib.policy.reader import Faults
from chalicelib.policy.schema import KeyEntry, PolicyFile, schema, seconds
from chalicelib.policy.shapes import shape_of
from chalicelib.policy.yaml_nodes import Document
from chalicelib.policy.yaml_parser import parse_yaml
from chalicelib.providers.presets import PROVIDERS
from chalicelib.tokens import jwk

__all__ = ["Fault", "InstallationRules", "InvalidPolicyError", "Policy", "json_schema", "parse", "seconds"]

DEPLOYED = InstallationRules(PRESETS)
ROTATE_AFTER = (86_400, 3650 * 86_400)
"""Seconds, the least and the most."""
_FILE = shape_of(PolicyFile)
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy without faults."""

    keys: Mapping[str, str]
    """Name -> provider."""
    issuers: Mapping[str, Issuer]
    """By name."""
    grants: Mapping[str, Grant]
    """By name."""
    document: Document
    """The file that it was read from, with its lines."""
    rotate_after: Mapping[str, int] = field(default_factory=dict)
    """Name -> seconds after which a key's value is due to be replaced, of the keys that say so."""

    federated: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name -> the ids with which its credentials are minted, of the keys that have no value that is set."""

    def key(self, name: str) -> dict[str, Any]:
        """Return a key as stores keep it."""
        due = {"rotate_after": self.rotate_after[name]} if name in self.rotate_after else {}
        federated = {"federated": dict(self.federated[name])} if name in self.federated else {}
        return {"provider": self.keys[name], **due, **federated}


def parse(text: str, file: str = "keybroker.yaml", rules: InstallationRules = DEPLOYED) -> Policy:
    """Read a policy file; raises InvalidPolicyError with every fault of it."""
    document = parse_yaml(text, file)
    faults = Faults(document)
    entries: PolicyFile | Faulty = _FILE.read(document.root, (), faults)
    # What has no fault is compiled all the same, so that one run shows every fault.
    policy = _compile(entries or PolicyFile(keys=FAULTY, grants=FAULTY), document, rules, faults)
    faults.raise_noted()
    return policy


def json_schema(rules: InstallationRules = DEPLOYED) -> dict[str, Any]:
    """Return the file's JSON Schema, generated from the types that `parse` reads it with."""
    return schema(tuple(PROVIDERS), tuple(rules.presets), tuple(sorted(jwk.ALGORITHMS)))


def _compile(entries: PolicyFile, document: Document, rules: InstallationRules, faults: Faults) -> Policy:
    """Return what has no fault; the faults of the rest are noted."""
    key_entries, grant_entries = entries.keys or {}, entries.grants or {}
    issuer_entries = {} if entries.issuers is ABSENT or entries.issuers is FAULTY else entries.issuers
    keys = {name: _provider(name, entry, faults) for name, entry in key_entries.items()}
    issuers = {
        name: FAULTY if entry is FAULTY else compile_issuer(name, entry, rules, faults)
        for name, entry in issuer_entries.items()
    }
    check_urls(issuer_entries, rules, faults)
    grants = {
        name: FAULTY if entry is FAULTY else compile_grant(name, entry, keys, issuers, rules, faults)
        for name, entry in grant_entries.items()
    }
    rotate_after = {
        name: check_duration(entry.rotate_after, ROTATE_AFTER, ("keys", name, "rotate_after"), faults)
        for name, entry in key_entries.items()
        if entry is not FAULTY and entry.rotate_after is not ABSENT
    }
    federated = {
        name: compile_federated(name, entry, rules, faults)
        for name, entry in key_entries.items()
        if entry is not FAULTY and entry.federated is not ABSENT
    }
    return Policy(_sound(keys), _sound(issuers), _sound(grants), document, _sound(rotate_after), _sound(federated))


def _provider(name: str, entry: KeyEntry | Faulty, faults: Faults) -> str | Faulty:
    return FAULTY if entry is FAULTY else check_one_of(entry.provider, PROVIDERS, ("keys", name, "provider"), faults)


def _sound(entries: Mapping[str, _Entry | Faulty]) -> dict[str, _Entry]:
    return {name: entry for name, entry in entries.items() if entry is not FAULTY}
