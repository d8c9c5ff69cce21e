"""Limits of what models take, over real HTTP: real SDKs, several workers, the practice provider, and a killed worker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from local import price_file
from tests.running import Running, start, wait_until

POLICY = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  app:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "POST:/v1/embeddings", "GET:/v1/models"]
    quota: {tokens: 1000/hour, calls: 100000/minute, usage: [20000 tokens/day], spend: [0.05 usd/day]}
  claude:
    key: anthropic
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/messages"]
    quota: {tokens: 1000/hour, calls: 100000/minute, usage: [20000 tokens/day], spend: [0.1 usd/day]}
"""
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start("--workers", "2", policy=POLICY) as one:
        yield one


def sdk(running: Running, repository_id: str) -> openai.OpenAI:
    token = running.token(repository_id)
    return openai.OpenAI(api_key=token, base_url=f"{running.edge}/openai/v1", max_retries=0)


def budgets(running: Running, repository_id: str, grant: str = "app") -> dict[str, dict[str, int]]:
    answer = running.administer("GET", f"/admin/usage?grant={grant}").json["items"]
    found: dict[str, dict[str, int]] = next(
        one["budgets"] for one in answer if one["principal"].endswith(f":{repository_id}")
    )
    return found


def test_what_answers_say_is_charged(running: Running) -> None:
    """Plain and streamed, of both APIs: what the answer says that it took is what is used, and nothing stays reserved."""
    with sdk(running, "6101") as client:
        plain = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=5)
        assert plain.usage is not None
        took = plain.usage.total_tokens
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            messages=HELLO,
            max_completion_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
        took += [chunk.usage.total_tokens for chunk in stream if chunk.usage][-1]
    wait_until(lambda: budgets(running, "6101")["usage"] == {"used": took, "reserved": 0})
    assert 0 < budgets(running, "6101")["spend"]["used"] < took * 2
    token = running.token("6101", "anthropic")
    with anthropic.Anthropic(api_key=token, base_url=f"{running.edge}/anthropic", max_retries=0) as claude:
        message = claude.messages.create(model="claude-sonnet-4-6", max_tokens=6, messages=HELLO)
    told = message.usage.input_tokens + message.usage.output_tokens
    wait_until(lambda: budgets(running, "6101", "claude")["usage"] == {"used": told, "reserved": 0})


def test_the_command_shows_it(running: Running) -> None:
    """`keybroker usage --spend` shows what is used and reserved, in tokens and in dollars."""
    with sdk(running, "6105") as client:
        client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=5)
    wait_until(lambda: budgets(running, "6105")["usage"]["reserved"] == 0)
    found = budgets(running, "6105")
    command = [str(Path(sys.executable).with_name("keybroker")), "usage", "--spend", "--principal", running.sub("6105")]
    names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY", "region": "AWS_REGION"}
    environment = {**os.environ, "KEYBROKER_URL": running.broker}
    environment |= {variable: running.admin[name] for name, variable in names.items()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    headings, row = done.stdout.splitlines()
    assert headings.split("  ")[-1].strip() == "RESERVED"
    date = re.search("as of ([0-9-]{10})", price_file.told(None))
    assert date is not None
    assert f"usd: list prices as of {date[1]}\n" in done.stderr
    assert row.split()[-4:] == [str(found["usage"]["used"]), "0", f"0.{found['spend']['used']:06}", "0.000000"]


def test_many_calls_at_once_never_exceed_it(running: Running) -> None:
    """However many calls come at once at two workers, what they took together is within the limit; the refused ones say why."""
    with sdk(running, "6102") as client:

        def attempt(_number: int) -> str:
            try:
                client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=3_000)
            except openai.RateLimitError as error:
                return error.message
            return "done"

        with ThreadPoolExecutor(16) as pool:
            said = list(pool.map(attempt, range(48)))
    assert {"done"} < set(said)
    assert all("tokens/day of yours" in one or "usd/day of yours" in one for one in set(said) - {"done"})
    wait_until(lambda: budgets(running, "6102")["usage"]["reserved"] == 0)
    assert budgets(running, "6102")["usage"]["used"] <= 20_000
    assert budgets(running, "6102")["spend"]["used"] <= 50_000


def test_what_cannot_be_counted_is_refused_in_words(running: Running) -> None:
    """A model without a price, a tool of the provider's own and a call beyond the whole limit are refused, each in words."""
    with sdk(running, "6103") as client:
        with pytest.raises(openai.PermissionDeniedError, match="there is no price of 'gpt-house'"):
            client.chat.completions.create(model="gpt-house", messages=HELLO, max_completion_tokens=5)
        with pytest.raises(openai.PermissionDeniedError, match="'previous_response_id' may take more"):
            client.responses.create(model="gpt-5-mini", input="hello", max_output_tokens=5, previous_response_id="r")
        with pytest.raises(openai.BadRequestError, match="more than the whole quota of"):
            client.chat.completions.create(model="gpt-5-mini", messages=HELLO)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_a_killed_worker_frees_nothing() -> None:
    """What a call had reserved whose worker was killed stays counted and holds the next one back; others are served."""
    with start(policy=POLICY) as one, sdk(one, "6104") as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini", messages=HELLO, max_completion_tokens=4_000, stream=True
        )
        next(iter(stream))
        held = budgets(one, "6104")
        os.kill(_worker(one.process.pid), signal.SIGKILL)
        wait_until(lambda: _is_served(one))
        assert budgets(one, "6104") == held
        assert (held["usage"]["used"], held["usage"]["reserved"] > 5_000) == (0, True)
        with pytest.raises(openai.RateLimitError, match="of the quota of"):
            client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=15_000)
        client.chat.completions.create(model="gpt-5-mini", messages=HELLO, max_completion_tokens=5_000)


def _worker(pid: int) -> int:
    """Return the first child that serves; multiprocessing has another of its own."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return next(one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes())


def _is_served(one: Running) -> bool:
    try:
        return one.administer("GET", "/admin/usage").status == 200
    except OSError:
        return False
