"""The edge function's zip, built and unpacked, in a process with nothing else on its path, over moto behind a line and TLS."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib import quota
from chalicelib.aws.config import EDGE_FILE
from infra.edge.__main__ import WHEELS
from infra.edge.contents import write_contents
from infra.edge.reproducible_zip import write_zip
from tests import aws_scenario
from tests.aws_installed import Installed, installation, issued
from tests.chalicelib.issuers.test_fetch import certificate
from tests.contracts.dynamodb_adapters import over
from tests.line import Line, line

_PROGRAM = """
import json, sys, time
results, sys.stdout = sys.stdout, sys.stderr
clock, ahead = time.time, 0.0
time.time = lambda: clock() + ahead
import start
from chalicelib.aws import target_items
target_items.COPIES = "0123"  # as many as the test's tables have
print("ready", file=results, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    ahead = asked["ahead"]
    print(json.dumps(start.handler(asked["event"], None)), file=results, flush=True)
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_SESSION_TOKEN": "made-up"}
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Behind:
    """An installation, the line that leads to it, and the zip's content that knows it."""

    installed: Installed
    line: Line
    task: Path
    roots: Path

    @contextlib.contextmanager
    def running(self, credentials: Mapping[str, str] = CREDENTIALS) -> Iterator[Running]:
        """Start the zip, and end it."""
        place = {"AWS_ENDPOINT_URL": f"https://localhost:{self.line.address[1]}", "AWS_CA_BUNDLE": str(self.roots)}
        command = [sys.executable, "-I", "-S", "-B", "-c", f"import sys; sys.path.insert(0, '.'){_PROGRAM}"]
        with tempfile.NamedTemporaryFile(dir=self.task.parent) as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.task,
                env={"PATH": os.defpath, **place, **credentials},
            )
            try:
                yield Running(process, Path(log.name))
            finally:
                process.kill()
                process.communicate()

    def token(self) -> str:
        """Return a fresh token."""
        return issued(self.installed)

    def counted(self, token: str) -> tuple[int, int]:
        """Return how many calls of a token's principal are counted today, and how many as refused."""
        said = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
        day = quota.counters("calls", claims["grant"], claims["sub"], claims["iat"])[2]
        return over(self.installed.tables).counted(day)


class Running:
    """A running zip. ahead: seconds that its wall clock is ahead, as after a time in which it was frozen."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log, self.ahead = process, log, 0.0
        assert self._answer() == b"ready\n", log.read_text(encoding="utf-8")

    def call(self, token: str) -> dict[str, Any]:
        """Return what comes of a call with a token."""
        return self.handle(aws_scenario.edge_event(token))

    def handle(self, event: object) -> dict[str, Any]:
        """Return what comes of an event."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"event": event, "ahead": self.ahead}).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert answer, self._log.read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(answer)
        return found

    def _answer(self) -> bytes:
        assert self._process.stdout
        assert select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0], "no answer"
        return self._process.stdout.readline()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it meanwhile, as Lambda does between two calls."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of its log."""
        return [json.loads(one) for one in self._log.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def behind(directory: Path, prefix: str) -> Iterator[Behind]:
    """Install everything, and build and unpack the zip. prefix: of the tables, nobody else's."""
    roots = certificate(directory, "localhost")
    with installation(directory, prefix, roots) as installed:
        there = urlsplit(installed.door.client.meta.endpoint_url)
        with line(("127.0.0.1", there.port or 0)) as to_it:
            (directory / "content").mkdir()
            try:
                write_contents(directory / "content", json.dumps(installed.baked()), WHEELS)
            except subprocess.CalledProcessError as fault:
                pytest.skip(f"pip reaches no index: the edge function's zip was NOT built and NOT tried: {fault}")
            write_zip(directory / "content", directory / "edge.zip")
            with zipfile.ZipFile(directory / "edge.zip") as packed:
                packed.extractall(directory / "task")
            assert (directory / "task" / EDGE_FILE).exists()
            yield Behind(installed, to_it, directory / "task", roots)
