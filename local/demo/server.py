"""Where the demo plays: `python -m local serve` in a process of its own, with state that is thrown away."""

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

from local.demo import interruption
from local.demo.administrator import Administrator
from local.demo.check import StepFailed

CALLS_A_DAY = 5
POLICY = f"""\
# The demo's policy: two jobs of one repository, each with a grant of its own.
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
_START_SECONDS = 40.0
_STOP_SECONDS = 15.0
_LINE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Stage:
    """The addresses of what serves, what opens it, and its log."""

    broker: str
    edge: str
    provider: str
    issuer: str
    request_token: str = field(repr=False)
    administrator: Administrator
    log: Path


def command(directory: Path) -> list[str]:
    """Return what starts the demo's servers, after writing the demo's policy into the directory."""
    policy = directory / "keybroker.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    state = ["--state", str(directory / "state"), "--policy", str(policy)]
    return [sys.executable, "-m", "local", "serve", "--port", "0", "--json", *state]


@contextlib.contextmanager
def serving(arguments: Sequence[str], directory: Path, meanwhile: Callable[[], object]) -> Iterator[Stage]:
    """Start the servers, and stop them whatever happens. meanwhile: is called while they start.

    arguments: a command that keeps the promise of `serve --json`. Raises StepFailed if it does not start.
    """
    log = directory / "serve.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  our own command
            arguments, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            meanwhile()
            yield _stage(_first_line(process, log), log)
        finally:
            interruption.cleaning_up()
            _stop(process)


def _stage(line: bytes, log: Path) -> Stage:
    try:
        said = json.loads(line)
        return Stage(
            broker=said["broker"],
            edge=said["edge"],
            provider=said["provider"],
            issuer=said["issuer"],
            request_token=said["request_token"],
            administrator=Administrator(url=said["broker"], **said["admin"]),
            log=log,
        )
    except (ValueError, LookupError, TypeError):
        raise StepFailed("what `serve --json` said is not the one line it promises") from None


def _first_line(process: subprocess.Popen[bytes], log: Path) -> bytes:
    """Return the process's first line of output; raises StepFailed if it ends before, or takes too long."""
    if process.stdout is None:
        raise StepFailed("the servers have no output")
    line, ends = b"", time.monotonic() + _START_SECONDS
    while not line.endswith(b"\n"):
        left = ends - time.monotonic()
        if left <= 0 or len(line) > _LINE_LIMIT or not select.select([process.stdout], [], [], left)[0]:
            raise StepFailed(f"the servers did not start within {_START_SECONDS:.0f} s{_last_words(log)}")
        piece = os.read(process.stdout.fileno(), _LINE_LIMIT)
        if not piece:
            raise StepFailed(f"the servers ended while they started{_last_words(log)}")
        line += piece
    return line


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
