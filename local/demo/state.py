"""What one step of the demo hands to the next."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from local.demo import http_call
from local.demo.check import expect
from local.demo.console import Narrator
from local.demo.server import Stage

AUDIENCE = "keybroker"
MODEL = "gpt-5-mini"


@dataclass(slots=True)
class Scene:
    """The stage, who tells of it, and what happened so far.

    heard: everything that came back to the job. request_ids: of the refusals to be looked up at the end.
    """

    stage: Stage
    narrator: Narrator
    identity_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    base_url: str = ""
    release_token: str = field(default="", repr=False)
    sub: str = ""
    revocation: str = ""
    heard: list[str] = field(default_factory=list, repr=False)
    request_ids: dict[str, str] = field(default_factory=dict)

    def ask_runner(self) -> str:
        """Return a fresh identity token for the job on main, the way a GitHub runner gives it."""
        target = f"/_runner/token?api-version=2.0&audience={AUDIENCE}"
        headers = {"authorization": f"Bearer {self.stage.request_token}"}
        answer = http_call.call("GET", self.stage.issuer + target, headers=headers)
        expect("the runner's answer", answer.status, 200)
        return str(answer.json["value"])

    def ask_runner_of_release(self) -> str:
        """Return a fresh identity token for the same repository's job on the tag v1.2.0."""
        wanted = {**claims(self.identity_token), "ref": "refs/tags/v1.2.0", "ref_type": "tag"}
        filled_in = {name: value for name, value in wanted.items() if name not in ("iat", "nbf", "exp", "jti")}
        answer = http_call.call("POST", f"{self.stage.issuer}/_mint", json.dumps(filled_in).encode())
        expect("the practice issuer's answer", answer.status, 200)
        return str(answer.json["token"])


def claims(token: str) -> dict[str, Any]:
    """Return what a JWT says, unverified: for showing it."""
    payload = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return dict(decoded)
