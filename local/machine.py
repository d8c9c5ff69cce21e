"""Keybroker on one machine: what lies in its state directory, and the ports of both doors over it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import app
import edge
from chalicelib import policy
from chalicelib.admission import Edge
from chalicelib.audit import Event
from chalicelib.errors import Unavailable
from chalicelib.exchange import Broker
from chalicelib.issuers import GENERIC, PRESETS
from chalicelib.jwks import Jwks, get_json
from chalicelib.policy import Policy
from chalicelib.providers import PROVIDERS, ProviderKey
from local import practice, secret_file
from local.provider_key_file import ProviderKeyFile
from local.signing_key import SigningKey
from local.sigv4 import Caller, Credential
from local.sqlite import StateFile
from local.sqlite_control import SqliteControl
from local.sqlite_gate import SqliteGate
from local.sqlite_ledger import SqliteLedger

REGION = "us-east-1"
_IDENTITIES = frozenset(preset.identity for preset in (*PRESETS.values(), GENERIC))


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the four parts answer; provider and issuer are None without the practice parts."""

    broker: str
    edge: str
    provider: str | None
    issuer: str | None


class Machine:
    """A state directory, made by `prepare`, and what runs over it."""

    def __init__(self, directory: Path, urls: Urls, practice_ttl: int | None = None) -> None:
        self.directory = directory
        self._urls = urls
        self._practice_ttl = practice_ttl

    def prepare(self, policy_text: str, policy_file: str, values: Mapping[str, str]) -> None:
        """Make what is missing in the directory, and put the policy in force.

        Raises PolicyInvalid; Unavailable if a file is no use, or if the state file is gone while its signing key is not.

        values: provider -> made-up key while the practice parts run, else empty.
        """
        parsed = policy.parse(policy_text, policy_file, practice.dialect(self._urls.issuer))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_state_file()
        control = SqliteControl(StateFile.create(self._path("state.db")))
        key = SigningKey.create(self._path("signing-key.pem"))
        credential = {"access_key_id": f"AKIAPRACTICE{secrets.token_hex(4).upper()}"}
        secret_file.write_once(
            self._path("admin.json"), json.dumps(credential | {"secret_access_key": secrets.token_urlsafe(30)})
        )
        control.apply(parsed, _event("policy.applied", {"file": policy_file}))
        control.list_signing_keys((key.kid(),))
        if self._urls.provider is not None:
            # CloudFront takes no address as an origin's name.
            origin = self._urls.provider.replace("127.0.0.1", "localhost")
            keys = practice.provider_keys(parsed.keys, origin, values)
        else:
            keys = _keys_of_environment(parsed, os.environ)
        if keys:
            ProviderKeyFile(self._path("provider-keys.json")).write(keys)
        for name, provider_key in keys.items():
            control.set_key_version(name, provider_key.version, _event("key.set", {"key": name}))

    def admin(self) -> dict[str, str]:
        """Return the administrator's signing keys; raises Unavailable."""
        stored: dict[str, str] = json.loads(secret_file.read(self._path("admin.json")))
        return {**stored, "region": REGION}

    def credentials(self) -> dict[str, Credential]:
        """Return whose SigV4 signatures are accepted: the administrator's."""
        admin = self.admin()
        access_key_id = admin["access_key_id"]
        arn = "arn:aws:iam::000000000000:user/practice-admin"
        caller = Caller(access_key_id=access_key_id, account="000000000000", arn=arn, user_id="AIDAPRACTICEADMIN")
        return {access_key_id: Credential(secret=admin["secret_access_key"], caller=caller)}

    def broker_ports(self) -> app.Ports:
        """Return the broker's ports; raises Unavailable if a file is missing."""
        state = StateFile(self._path("state.db"))
        ledger = SqliteLedger(state)
        key = SigningKey(self._path("signing-key.pem"))
        broker = Broker(
            ledger=ledger,
            keys=Jwks(get_json, loopback=True),
            signer=key,
            url=self._urls.broker,
            edge_url=self._urls.edge,
            identities=_IDENTITIES,
            practice_ttl=self._practice_ttl,
        )
        return app.Ports(broker=broker, revocations=SqliteControl(state), audit=ledger, jwks=lambda: [key.public_jwk])

    def edge_ports(self) -> edge.Ports:
        """Return the edge's ports; raises Unavailable if a file is missing."""
        # Calls are counted without waiting for the disk: a power cut may forget the last of them, `kill -9` does not.
        state = StateFile(self._path("state.db"), durable=False)
        return edge.Ports(
            Edge(
                gate=SqliteGate(state),
                signing_keys=SigningKey(self._path("signing-key.pem")),
                provider_keys=ProviderKeyFile(self._path("provider-keys.json")),
                issuer=self._urls.broker,
            ),
            log=logging.getLogger("keybroker").info,
        )

    def _check_state_file(self) -> None:
        # SECURITY: a state file made anew would have forgotten revocations of tokens that the signing key still vouches
        # for (test_a_state_file_that_is_gone_is_not_made_anew_beside_its_signing_key).
        state = self._path("state.db")
        if self._path("signing-key.pem").exists() and not (state.exists() and state.stat().st_size):
            raise Unavailable("state_file_missing") from FileNotFoundError(
                f"{state} is gone: put it back, or remove the whole directory to start afresh"
            )

    def _path(self, name: str) -> Path:
        return self.directory / name


def _keys_of_environment(parsed: Policy, environment: Mapping[str, str]) -> dict[str, ProviderKey]:
    """Return the keys set as KEYBROKER_KEY_<NAME>, for providers whose origin is known; others stay as they are."""
    keys = {}
    for name, provider_name in parsed.keys.items():
        value = environment.get(f"KEYBROKER_KEY_{name.upper().replace('-', '_')}")
        provider = PROVIDERS[provider_name]
        if value and provider.origin:
            version = f"environment-{secrets.token_hex(4)}"
            keys[name] = ProviderKey(version, provider.origin, provider.header, provider.prefix, value)
    return keys


def _event(kind: str, detail: Mapping[str, str]) -> Event:
    return Event(
        id=secrets.token_urlsafe(16), at=int(time.time()), kind=kind, request_id="", actor="this machine", detail=detail
    )


def read_policy(path: Path | None) -> tuple[str, str]:
    """Return the policy's text and its file's name; raises Unavailable if the file cannot be read."""
    if path is None:
        return practice.POLICY, "the practice policy"
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("policy_unreadable") from error
