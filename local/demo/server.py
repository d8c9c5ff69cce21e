"""The demo's servers: `python -m local serve` in a separate process, whose state is deleted at the end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.demo import signals
from local.demo.check import CheckFailedError

CALLS_A_DAY = 5
POLICY = f"""\
# The demo's policy: two jobs of one repository, each with its own grant.
keys:
  openai: {{provider: openai}}
issuers:
  practice: {{preset: practice, audience: keybroker}}
grants:
  ci:
    key: openai
    to: {{issuer: practice, claims: {{repository_id: "1234", repository_owner_id: "9919", ref: refs/heads/main}}}}
    scope: ["POST:/v1/chat/completions"]
    ttl: 15m
    quota: {{tokens: 30/day, calls: [{CALLS_A_DAY}/day]}}
  release:
    key: openai
    to: {{issuer: practice, claims: {{repository_id: "1234", repository_owner_id: "9919", ref: "refs/tags/*"}}}}
    scope: ["GET:/v1/models", "GET:/v1/models/*"]
    ttl: 15m
    quota: {{tokens: 30/day, calls: [100/minute]}}
"""
_ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT = 40.0
_STOP_TIMEOUT = 15.0
_LINE_LIMIT = 64 * 1024
"""Bytes of the line that `serve --json` prints."""


@dataclass(frozen=True, slots=True)
class DemoServer:
    """The running servers.

    broker, edge, provider, issuer: their URLs
    request_token: opens the practice issuer's runner endpoint
    admin: the AWS credentials that the broker's administration accepts, by environment variable
    log: the file with what the servers write to stderr
    """

    broker: str
    edge: str
    provider: str
    issuer: str
    request_token: str = field(repr=False)
    admin: dict[str, str] = field(repr=False)
    log: Path


def command(directory: Path) -> list[str]:
    """Write the demo's policy into the directory; return the command that starts the servers with it."""
    policy = directory / "keybroker.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    state = ["--state", str(directory / "state"), "--policy", str(policy)]
    return [sys.executable, "-m", "local", "serve", "--port", "0", "--json", *state]


@contextlib.contextmanager
def start(arguments: Sequence[str], directory: Path, meanwhile: Callable[[], object]) -> Iterator[DemoServer]:
    """Start the servers, and always stop them at the end.

    arguments: a command that prints one line like `serve --json`. directory: where the log goes. meanwhile: called while
    the servers start. Raises CheckFailedError if they do not start.
    """
    log = directory / "serve.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  our own command
            arguments, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            meanwhile()
            yield _parse(_read_line(process, log), log)
        finally:
            signals.stop_repeating()
            _stop(process)


def _parse(line: bytes, log: Path) -> DemoServer:
    try:
        announced = json.loads(line)
        admin = announced["admin"]
        return DemoServer(
            broker=announced["broker"],
            edge=announced["edge"],
            provider=announced["provider"],
            issuer=announced["issuer"],
            request_token=announced["request_token"],
            admin={
                "AWS_ACCESS_KEY_ID": admin["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": admin["secret_access_key"],
                "AWS_REGION": admin["region"],
            },
            log=log,
        )
    except (ValueError, LookupError, TypeError):
        raise CheckFailedError("`serve --json` did not print the expected line of JSON") from None


def _read_line(process: subprocess.Popen[bytes], log: Path) -> bytes:
    """Return the process's first line of output; raises CheckFailedError if it exits first or takes too long."""
    if process.stdout is None:
        raise CheckFailedError("the servers have no output")
    line, deadline = b"", time.monotonic() + _START_TIMEOUT
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or len(line) > _LINE_LIMIT or not select.select([process.stdout], [], [], left)[0]:
            raise CheckFailedError(f"the servers did not start within {_START_TIMEOUT:.0f} s{_last_line(log)}")
        chunk = os.read(process.stdout.fileno(), _LINE_LIMIT)
        if not chunk:
            raise CheckFailedError(f"the servers exited during start-up{_last_line(log)}")
        line += chunk
    return line


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
