"""A provider key is replaced while 64 calls are under way all the time: none of them notices, streams included."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.practice.key_account import MANAGEMENT_KEY
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT
from tests.running import Answer, Running, call, start, wait_until

POLICY = """
keys:
  openai: {provider: openai}
issuers:
  ci: {preset: practice, audience: keybroker}
grants:
  ci:
    key: openai
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 100/hour, calls: [1000000/minute]}
"""
CALLS_AT_ONCE = 64
OVERLAP_SECONDS = 3


def rotation(running: Running, **body: object) -> Answer:
    """Begin to replace the key, or go on with it."""
    return running.administer("POST", "/admin/keys/openai/rotation", body)


def complete(running: Running, token: str, *, stream: bool) -> Answer:
    """Make one call, without a second try."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    return call("POST", f"{running.edge}/openai/v1/chat/completions", body, {"authorization": f"Bearer {token}"}, 0.0)


@pytest.mark.slow
def test_no_call_notices() -> None:
    """Over three replacements, the second after a leak of nothing, 64 at once, no call fails; at the end one key has our name."""
    with start(policy=POLICY) as running:
        managed = {"value": MANAGEMENT_KEY, "settings": {"project": PROJECT, "service_account": SERVICE_ACCOUNT}}
        assert running.administer("PUT", "/admin/keys/openai/management", managed).status == 200
        token = running.exchange(running.mint("9301")).json["access_token"]
        done, stop = [0] * CALLS_AT_ONCE, threading.Event()
        failures: list[Answer] = []

        def caller(number: int) -> None:
            while not stop.is_set():
                answer = complete(running, token, stream=number % 2 == 0)
                done[number] += 1
                if answer.status != 200:
                    failures.append(answer)

        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            for number in range(CALLS_AT_ONCE):
                pool.submit(caller, number)
            try:
                wait_until(lambda: min(done) > 0, 60)
                for _ in range(3):
                    before = list(done)
                    begun = rotation(running, overlap=OVERLAP_SECONDS)
                    assert (begun.status, begun.json["rotation"]["step"]) == (200, "overlap"), begun.json
                    wait_until(lambda: rotation(running).json["rotation"] is None, 60)
                    wait_until(
                        lambda before=before: all(now > then for now, then in zip(done, before, strict=True)), 60
                    )
            finally:
                stop.set()
        assert failures == []
        keys = running.administer("GET", "/admin/keys/openai/provider-keys").json["items"]
        assert [one["use"] for one in keys] == ["in_force"]
