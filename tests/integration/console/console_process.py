"""A running `keybroker console`, as a person has it: a separate process, with AWS credentials in its variables."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.running import ROOT, Running
from tests.scripted_broker import IDENTITY_VARIABLES


@dataclass(frozen=True)
class ConsoleProcess:
    """enter: the address that opens it, once. url: of its first page, ending in `/`."""

    url: str
    enter: str = field(repr=False)
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def port(self) -> int:
        """The port at 127.0.0.1."""
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def of(self, sub: str) -> str:
        """Return the address of a principal's page."""
        return f"{self.url}principal?id={quote(sub, safe='')}"

    def revoke(self, sub: str) -> str:
        """Return the address of the page that asks before a principal is revoked."""
        return f"{self.url}revoke?scope=principal&id={quote(sub, safe='')}"


def variables(running: Running, admin_url: str = "", **more: str) -> dict[str, str]:
    """Return an administrator's variables. admin_url: where `/admin` is asked for, if not at the broker's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(IDENTITY_VARIABLES)}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": running.admin["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": running.admin["secret_access_key"],
        "AWS_REGION": running.admin["region"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEYBROKER_URL": running.broker,
        "KEYBROKER_ADMIN_URL": admin_url or running.broker,
        **more,
    }


@contextlib.contextmanager
def spawned(environment: dict[str, str], arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Start `keybroker console`, and end it again."""
    command = [sys.executable, "-m", "keybroker.cli", "console", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(15)


@contextlib.contextmanager
def console_of(running: Running, admin_url: str = "", **more: str) -> Iterator[ConsoleProcess]:
    """Start one that prints its address."""
    with spawned(variables(running, admin_url, **more), ["--no-open"]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        enter = process.stdout.readline().strip()
        assert enter.startswith("http://127.0.0.1:"), process.stderr.read()
        yield ConsoleProcess(enter.split("enter?")[0], enter, process)
