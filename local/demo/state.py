"""What one step of the demo passes to the next."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import keybroker
from keybroker import http_client
from keybroker.http_client import Response
from local.demo.check import check
from local.demo.console import Console
from local.demo.server import DemoServer

AUDIENCE = "keybroker"
MODEL = "gpt-5-mini"
_TIMEOUT = 10.0
"""Seconds."""
_RESPONSE_LIMIT = 4 * 1024 * 1024
"""Bytes."""


@dataclass(slots=True)
class DemoState:
    """The servers, the output, and the results of the steps so far.

    server: the running servers
    console: where the steps print
    identity_token: the CI job's, which the broker accepts once
    token: the broker token that it was exchanged for
    base_url: the edge's address for the key `openai`
    release_token: the broker token of the repository's release job
    principal: the `sub` of both broker tokens
    revocation: the ID of the revocation of that principal
    received: everything the job received from the broker and the edge
    request_ids: by refusal, to look it up in the audit later
    """

    server: DemoServer
    console: Console
    identity_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    base_url: str = ""
    release_token: str = field(default="", repr=False)
    principal: str = ""
    revocation: str = ""
    received: list[str] = field(default_factory=list, repr=False)
    request_ids: dict[str, str] = field(default_factory=dict)

    def fetch_identity_token(self) -> str:
        """Return a new identity token for the job on main, from the endpoint that GitHub's runners have."""
        url = f"{self.server.issuer}/_runner/token?api-version=2.0&audience={AUDIENCE}"
        response = http("GET", url, headers={"authorization": f"Bearer {self.server.request_token}"})
        return str(json.loads(response.body)["value"])

    def fetch_release_identity_token(self) -> str:
        """Return a new identity token for the same repository's job on the tag v1.2.0."""
        copied = {**claims(self.identity_token), "ref": "refs/tags/v1.2.0", "ref_type": "tag"}
        body = {name: value for name, value in copied.items() if name not in ("iat", "nbf", "exp", "jti")}
        response = http("POST", f"{self.server.issuer}/_mint", json.dumps(body).encode())
        return str(json.loads(response.body)["token"])

    def exchange(self, identity_token: str) -> keybroker.Token:
        """Exchange an identity token for a broker token for the key `openai`; raises keybroker.Refused."""
        return keybroker.exchange_token(self.server.broker, identity_token, "openai")


def http(method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
    """Make one HTTP call without an SDK; raises CheckFailedError unless the status is 200."""
    response = http_client.call(method, url, body, headers or {}, _TIMEOUT, _RESPONSE_LIMIT)
    check(f"the status of {method} {url.partition('?')[0]}", response.status, 200)
    return response


def claims(token: str) -> dict[str, Any]:
    """Return a JWT's claims, unverified: only for showing and comparing them."""
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
