"""A server as an installation runs it: no practice parts, callers of an issuer whose key is in the policy, a provider of ours."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.machine import Machine
from local.provider_key_file import ProviderKeyFile
from tests.forge import Key
from tests.own_provider import KEY
from tests.running import JWT, TOKEN_EXCHANGE

ISSUER = "https://ci.example"
_SIGNER = Key("k1", "ES256", ec.generate_private_key(ec.SECP256R1()))
_SCOPE = '["POST:/v1/chat/completions", "GET:/v1/models", "WEBSOCKET:/v1/realtime"]'
_MANY = "{tokens: 10000000/hour, calls: [10000000/minute]}"
POLICY = f"""\
keys:
  openai: {{provider: openai}}
issuers:
  ours:
    url: {ISSUER}
    audience: keybroker
    algorithms: [ES256]
    single_use: false
    max_lifetime: 1h
    jwks: {json.dumps({"keys": [_SIGNER.jwk]})}
grants:
  ci:
    key: openai
    to: {{issuer: ours, claims: {{sub: "ci:*"}}}}
    scope: {_SCOPE}
    ttl: 1h
    quota: {_MANY}
  modelled:
    key: openai
    to: {{issuer: ours, claims: {{sub: "modelled:*"}}}}
    scope: ["POST:/v1/chat/completions"]
    models: [gpt-5-mini]
    ttl: 1h
    quota: {_MANY}
  small:
    key: openai
    to: {{issuer: ours, claims: {{sub: "small:*"}}}}
    scope: {_SCOPE}
    ttl: 1h
    quota: {{tokens: 10000000/hour, calls: [3/day]}}
"""
"""Grants by the first word of a caller's `sub`: `ci`, `modelled`, whose models are listed, and `small`, with few calls."""
DOORS = "".join(f"[{door}]\nlisten = '127.0.0.1:0'\n" for door in ("broker", "edge", "administration"))


@dataclass(frozen=True)
class OwnServer:
    """Where a server is, by what it said at its start with `--json`."""

    broker: str
    edge: str
    administration: str
    state: Path

    @classmethod
    def of(cls, line: str) -> OwnServer:
        """Read the line."""
        said = json.loads(line)
        return cls(said["broker"], said["edge"], said["administration"], Path(said["state"]))

    def set_key(self, port: int) -> None:
        """Have the key `openai` go to a provider at a port of this machine, which no command would do."""
        machine, version = Machine.open(self.state), secrets.token_hex(8)
        origin, header, prefix = f"http://localhost:{port}", "authorization", "Bearer "
        key = ProviderKey(version, origin, header, prefix, KEY)
        ProviderKeyFile(self.state / "provider-keys.json").put("openai", key)
        event = machine.event("key.set", {"version": version})
        in_force = KeyVersion(version, origin, header, event.actor, event.at, prefix, "openai")
        machine.control().set_key("openai", in_force, event)

    def signed(
        self, method: str, path: str, body: bytes | None, more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the headers of an administrator's request."""
        keys = json.loads((self.state / "admin.json").read_text())
        named = {**({} if body is None else {"Content-Type": "application/json"}), **(more or {})}
        request = AWSRequest(method, self.administration + path, data=body, headers=named)
        signer = SigV4Auth(Credentials(keys["access_key_id"], keys["secret_access_key"]), "execute-api", "us-east-1")
        signer.add_auth(request)
        return dict(request.headers)


def principal(sub: str) -> str:
    """Return the `sub` of our tokens for a caller."""
    return f"{ISSUER}|sub:{sub}"


def subject_token(sub: str) -> str:
    """Return an identity token of a caller's, such as `ci:build-1`."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "keybroker", "sub": sub, "iat": now, "exp": now + 600, "jti": secrets.token_hex(16)}
    return jwt.encode(claims, _SIGNER.private, "ES256", {"kid": _SIGNER.kid})


def exchange(sub: str) -> dict[str, str]:
    """Return the fields of a request for a token."""
    grant = {"grant_type": TOKEN_EXCHANGE, "audience": "openai"}
    return {**grant, "subject_token": subject_token(sub), "subject_token_type": JWT}
