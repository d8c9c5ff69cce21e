"""The demo's last step: the key becomes federated, and no key of the provider's is left on the machine."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import openai

from keybroker.cli.admin_client import AdminClient
from local.demo.check import CheckFailedError, check
from local.demo.console import mask
from local.demo.server import POLICY
from local.demo.state import DemoState, http
from local.practice.federation import parties

_STATIC = "openai: {provider: openai}"
_PATIENCE = 20.0
_PAUSE = 0.1


def federate(state: DemoState) -> str:
    """10: the provider gives credentials of an hour to the broker's own proof, and the same call works."""
    console = state.console
    console.paragraph("OpenAI trusts the broker's own issuer now. The policy names ids, and no value:")
    federated = f"openai: {{provider: openai, federated: {parties.POLICY['openai']}}}"
    check("the policy", _STATIC in POLICY, expected=True)
    console.response(federated)
    admin = AdminClient(state.server.broker)
    version = admin.get("/admin/policy")["version"]
    text = POLICY.replace(_STATIC, federated)
    admin.call("PUT", "/admin/policy", body={"text": text}, headers={"if-match": f'"{version}"'})
    key = _minted(admin)
    life = key["expires"] - key["at"]
    console.response(f"minted: version {key['version'][:14]}…, which the provider ends in {life // 60} min")
    check("the life of the credential", 120 <= life <= 3600, expected=True)
    console.paragraph("The job's next call:")
    renewed = state.exchange(state.fetch_release_identity_token()).access_token
    console.request(f"GET /openai/v1/models (authorization: Bearer {mask(renewed)})")
    with openai.OpenAI(base_url=state.base_url, api_key=renewed) as client:
        console.response(f"200, {len(client.models.list().data)} models")
    seen = json.loads(http("GET", f"{state.server.provider}/_seen").body)["seen"][-1]["headers"]["authorization"]
    check("a static key at the provider", "sk-practice" in seen, expected=False)
    console.response(f"the provider saw {mask(seen.removeprefix('Bearer '))}, which it had minted")
    _check_no_key(state)
    return (
        f"no provider's key is on the machine, but a credential that ends in {life // 60} min;"
        " our issuer's own key is (docs/federation.md)"
    )


def _minted(admin: AdminClient) -> dict[str, Any]:
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        found: dict[str, Any] = next(one for one in admin.get("/admin/keys")["items"] if one["name"] == "openai")
        if found["expires"]:
            return found
        time.sleep(_PAUSE)
    raise CheckFailedError(f"no credential was minted: {found['mint_failure']}")


def _check_no_key(state: DemoState) -> None:
    directory = state.server.log.parent / "state"
    values = json.loads((directory / "provider-keys.json").read_text(encoding="utf-8"))
    left = [one for versions in values.values() for one in versions.values() if not one.get("expires")]
    check("values that never end, in the file of keys", len(left), 0)
    found = [
        file.name for file in directory.iterdir() if file.is_file() and re.search(rb"sk-practice-", file.read_bytes())
    ]
    check("files with the static key", found, [])
