"""A federated key's credential, and our own issuer's keys, are replaced while calls are under way: none of them notices."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from chalicelib.federation import minter as minters
from local import secret_file
from local.federation_key_file import FederationKeyFile
from local.machine import Machine
from local.practice.federation import parties
from tests.running import ROOT, Answer, Running, call, start, wait_until

POLICY = f"""
keys:
  openai: {{provider: openai, federated: {parties.POLICY["openai"]}}}
  anthropic: {{provider: anthropic, federated: {parties.POLICY["anthropic"]}}}
issuers:
  ci: {{preset: practice, audience: keybroker}}
grants:
  ci:
    key: openai
    to: {{issuer: ci, claims: {{repository_owner_id: "9919"}}}}
    scope: ["POST:/v1/chat/completions"]
    quota: {{tokens: 100/hour, calls: [1000000/minute]}}
  claude:
    key: anthropic
    to: {{issuer: ci, claims: {{repository_owner_id: "9919"}}}}
    scope: ["POST:/v1/messages"]
    quota: {{tokens: 100/hour, calls: [1000000/minute]}}
"""
AT_ONCE = 32
BETAS = {
    "anthropic-beta": "context-1m-2025-08-07",
    "anthropic-version": "2023-06-01",
    "anthropic-workspace-id": "wrkspc_x",
}


def complete(running: Running, token: str, number: int) -> Answer:
    """Make one call of OpenAI's API, or of Anthropic's, without a second try; every other one streams."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], "stream": number % 4 < 2}
    path, more = ("/openai/v1/chat/completions", {}) if number % 2 else ("/anthropic/v1/messages", BETAS)
    return call("POST", f"{running.edge}{path}", body, {"authorization": f"Bearer {token}", **more}, 0.0)


def minted(running: Running) -> dict[str, str]:
    """The version in force of each key that has one."""
    items = running.administer("GET", "/admin/keys").json["items"]
    return {one["name"]: one["version"] for one in items if one["version"]}


def rotate(running: Running) -> None:
    """Prepare a new key of our own issuer."""
    command = [sys.executable, "-m", "local", "state", "rotate-federation", "--state", str(running.state)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)


def age(running: Running) -> None:
    """Let the prepared key have been published for as long as it has to be before it signs."""
    path = running.state / "federation-keys.json"
    stored = json.loads(secret_file.read(path))
    for one in stored["keys"]:
        one["made"] -= one["ahead"]
    secret_file.write(path, json.dumps(stored))


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The `kid` of each assertion that this process has signed, in their order."""
    kids: list[str] = []
    sign = FederationKeyFile.sign

    def spy(file: FederationKeyFile, claims: Mapping[str, object], algorithms: Sequence[str], now: int) -> str:
        made = sign(file, claims, algorithms, now)
        kids.append(str(jwt.get_unverified_header(made)["kid"]))
        return made

    monkeypatch.setattr(FederationKeyFile, "sign", spy)
    return kids


@pytest.mark.slow
def test_no_call_notices(monkeypatch: pytest.MonkeyPatch, signed: list[str]) -> None:
    """Over twenty renewals and a new key of our own issuer that comes to sign, 32 calls at once, streams among them: none fails."""
    with start(policy=POLICY) as running:
        wait_until(lambda: len(minted(running)) == 2, 20)
        tokens = [running.token("9971", audience=one) for one in ("anthropic", "openai")]
        done, stop = [0] * AT_ONCE, threading.Event()
        failures: list[Answer] = []

        def caller(number: int) -> None:
            while not stop.is_set():
                answer = complete(running, tokens[number % 2], number)
                done[number] += 1
                if answer.status != 200:
                    failures.append(answer)

        versions = {tuple(sorted(minted(running).items()))}
        monkeypatch.setattr(minters, "renewal", lambda _version: 0)  # of a minter beside the server's, that never rests
        own = Machine.open(running.state).minter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number in range(AT_ONCE):
                pool.submit(caller, number)
            try:
                for turn in range(20):
                    if turn == 6:
                        rotate(running)
                    if turn == 12:
                        age(running)
                    assert set(own.renew_due().values()) <= {"minted", "superseded"}
                    versions.add(tuple(sorted(minted(running).items())))
                    time.sleep(0.2)
            finally:
                stop.set()
        assert failures == []
        assert min(done) > 3
        assert len(versions) >= 20
        # Of both keys the providers took every assertion, or else a turn would not have minted.
        assert len(set(signed)) == 2
        assert signed == sorted(signed, key=signed.index), "the old key signs no more once the new one does"
        seen = call("GET", f"{running.provider}/_seen").json["seen"]
        calls = [one["headers"] for one in seen if one["path"] in ("/v1/messages", "/v1/chat/completions")]
        assert all("sk-practice" not in one["authorization"] for one in calls)
        flags = {one["anthropic-beta"] for one in calls if "anthropic-beta" in one}
        assert flags == {"context-1m-2025-08-07,oauth-2025-04-20"}
        assert not [one for one in calls if "anthropic-workspace-id" in one or "x-api-key" in one]


@pytest.mark.slow
def test_a_provider_that_refuses() -> None:
    """Without a credential a call is a 503, the list says why, and once the rule is mended there is one."""
    with start(policy=POLICY.replace("fdrl_practice", "fdrl_another")) as running:
        wait_until(lambda: "openai" in minted(running), 20)
        token = running.token("9972", audience="anthropic")
        answer = complete(running, token, 0)
        assert (answer.status, answer.json["error"]["type"]) == (503, "api_error")
        failed = running.administer("GET", "/admin/keys").json["items"][0]["mint_failure"]
        assert (failed["problem"], failed["denied"]) == ("authentication_error", True)
        version = running.administer("GET", "/admin/policy").json["version"]
        body, headers = {"text": POLICY}, {"if-match": f'"{version}"'}
        assert running.administer("PUT", "/admin/policy", body, headers=headers).status == 200
        assert running.administer("POST", "/admin/keys/anthropic/mint", {}).json["life"] > 600
