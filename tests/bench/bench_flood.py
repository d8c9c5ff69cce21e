"""What a bystander waits while one caller, limited to 3 calls a minute, floods the edge with bodies that take long to read.

`BEFORE=DIRECTORY` names another checkout, whose edge is measured in the same run.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.doors import ROOT
from tests.bench.table import Cell, Table
from tests.running import JWT, TOKEN_EXCHANGE

ROUNDS, CALLS, SECONDS, FLOODERS = 3, 100, 8.0, 4
POLICY = """\
keys:
  openai: {provider: openai}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  limited:
    key: openai
    to: {issuer: practice, claims: {repository_id: "1", repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    models: [gpt-5-mini]
    quota: {tokens: 100/hour, calls: [3/minute]}
  bystander:
    key: openai
    to: {issuer: practice, claims: {repository_id: "2", repository_owner_id: "9919"}}
    scope: ["GET:/v1/models"]
    quota: {tokens: 100/hour, calls: [1000000/hour]}
"""
_START = b'{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "x"}], "x": ['
COSTLY = _START + b"{}," * ((262_144 - len(_START)) // 3) + b"{}]}"
"""256 KiB of empty objects."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge, and the callers' tokens. found: seconds of the bystander's calls, by whether there was a flood. failed: not answered with 200."""

    name: str
    port: int
    limited: str
    bystander: str
    found: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    failed: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})


def tables() -> Iterator[Table]:
    """Yield the table: each edge quiet and in a flood, in one interleaved run."""
    checkouts = {"this checkout": ROOT}
    if os.environ.get("BEFORE"):
        checkouts = {"before": Path(os.environ["BEFORE"]).resolve(), **checkouts}
    with contextlib.ExitStack() as stack:
        edges = [stack.enter_context(serving(name, root)) for name, root in checkouts.items()]
        for _ in range(ROUNDS):
            for edge in edges:
                bystander(edge, flooded=False)
                with flood(edge):
                    bystander(edge, flooded=True)
    yield Table(
        "A bystander's GET through the edge of one worker, quiet and in a flood of 256 KiB bodies of `{},`",
        ("edge", "flood", "calls", "p50 ms", "p99 ms", "not 200"),
        [_row(edge, flooded) for edge in edges for flooded in (False, True)],
        (
            f"{ROUNDS} interleaved rounds of {CALLS} calls or {SECONDS:.0f} s. The flood: {FLOODERS} connections of one caller that has",
            "3 calls a minute under a grant that limits models. All processes on the same cores.",
        ),
    )


def _row(edge: Edge, flooded: bool) -> tuple[Cell, ...]:  # noqa: FBT001  one of two columns
    seconds = sorted(edge.found[flooded])
    middle, tail = statistics.median(seconds), seconds[len(seconds) * 99 // 100]
    return edge.name, "yes" if flooded else "no", str(len(seconds)), middle * 1e3, tail * 1e3, str(edge.failed[flooded])


@contextlib.contextmanager
def serving(name: str, root: Path) -> Iterator[Edge]:
    """Serve a checkout with one worker, until the end."""
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "keybroker.yaml"
        policy.write_text(POLICY)
        command = ["-m", "local", "serve", "--json", "--port", "0", "--workers", "1", "--policy", str(policy)]
        with subprocess.Popen(
            [sys.executable, *command, "--state", f"{directory}/state"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                urls = json.loads(process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
                yield Edge(name, _port(urls["edge"]), _token(urls, "1"), _token(urls, "2"))
            finally:
                process.terminate()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _token(urls: dict[str, str], repository: str) -> str:
    claims = {"aud": "keybroker", "sub": "x", "repository_id": repository, "repository_owner_id": "9919"}
    minted = _post(urls["issuer"], "/_mint", json.dumps(claims), "application/json")["token"]
    asked = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": JWT, "audience": "openai", "subject_token": minted}
    return _post(urls["broker"], "/token", urlencode(asked), "application/x-www-form-urlencoded")["access_token"]


def _post(url: str, path: str, body: str, kind: str) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", _port(url), timeout=30)
    connection.request("POST", path, body, {"content-type": kind})
    found: dict[str, str] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def bystander(edge: Edge, *, flooded: bool) -> None:
    """Note the seconds of each of its calls, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=60)
    ends = time.perf_counter() + SECONDS
    for _ in range(CALLS):
        begun = time.perf_counter()
        connection.request("GET", "/openai/v1/models", headers={"authorization": f"Bearer {edge.bystander}"})
        answer = connection.getresponse()
        answer.read()
        edge.failed[flooded] += answer.status != http.HTTPStatus.OK
        edge.found[flooded].append(time.perf_counter() - begun)
        if time.perf_counter() > ends:
            break
    connection.close()


@contextlib.contextmanager
def flood(edge: Edge) -> Iterator[None]:
    """Have another process flood the edge until the end."""
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    process = spawn.Process(target=_flood, args=(edge.port, edge.limited, begun), daemon=True)
    process.start()
    begun.wait(60)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _flood(port: int, token: str, begun: Event) -> None:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def send() -> None:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                while True:
                    connection.request("POST", "/openai/v1/chat/completions", COSTLY, headers)
                    connection.getresponse().read()
                    begun.set()

    senders = [threading.Thread(target=send, daemon=True) for _ in range(FLOODERS)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
