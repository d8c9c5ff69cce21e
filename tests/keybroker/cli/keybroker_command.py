"""`keybroker` in a process of its own, as a user runs it, in an environment that holds nothing but what is given."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT, Running

COMMAND = (sys.executable, "-m", "keybroker.cli")
SECONDS = 60
"""Far more than any command takes."""


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def run(
    *arguments: str, environ: Mapping[str, str] | None = None, stdin: str | None = None, cwd: Path | None = None
) -> Done:
    """Run one command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env={**bare(), **(environ or {})},
        input=stdin if stdin is not None else "",
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, without_waiting(done.stderr))


def without_waiting(text: str) -> str:
    """Leave out what a command says when it has waited for a second, which depends on how busy the machine is."""
    return re.sub(r"^(waiting for|looking|searching) [^\n]* …\r?\n", "", text, flags=re.MULTILINE)


def bare() -> dict[str, str]:
    """Return an environment without an identity and without AWS credentials; metadata servers are not looked for."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PYTHONPATH": str(ROOT),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
    }


def job(running: Running) -> dict[str, str]:
    """Return the environment of a CI job: the practice issuer is its GitHub."""
    return {
        "KEYBROKER_URL": running.broker,
        "GITHUB_ACTIONS": "true",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{running.issuer}/_runner/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": running.request_token,
    }


def administrator(running: Running) -> dict[str, str]:
    """Return the environment of a security engineer."""
    return {
        "KEYBROKER_URL": running.broker,
        "AWS_ACCESS_KEY_ID": running.admin["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": running.admin["secret_access_key"],
        "AWS_REGION": running.admin["region"],
    }
