from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import numbers
from tests.running import ROOT, wait_until

CALLS = re.compile(
    r'^keybroker_calls_total\{.*keybroker_key="openai",keybroker_status_class="2xx"\} ([0-9.]+)$', re.MULTILINE
)


def test_nothing_is_counted_unless_it_is_asked_for() -> None:
    """Without a page and without a receiver there is no directory for numbers."""
    with ExitStack() as stack:
        assert numbers.directory(stack, None, {}) is None
        found = numbers.directory(stack, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
        assert found is not None
        assert found.stat().st_mode & 0o077 == 0
    assert not found.exists()


@contextmanager
def served(environment: dict[str, str]) -> Iterator[tuple[dict[str, Any], int]]:
    """A server of two workers with its numbers; what it says, and its process id."""
    command = [sys.executable, "-m", "local", "serve", "--port", "0", "--workers", "2", "--metrics", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--json"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process.pid
        finally:
            process.terminate()
            assert process.wait(20) == 0


def post(url: str, sent: dict[str, Any], **headers: str) -> dict[str, Any]:
    told = {"Content-Type": "application/json", **headers}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(sent).encode(), told), timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def page(said: dict[str, Any]) -> str:
    with urllib.request.urlopen(said["metrics"], timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def calls(said: dict[str, Any]) -> float:
    return sum(float(one) for one in CALLS.findall(page(said)))


def token(said: dict[str, Any]) -> tuple[str, str]:
    claims = {"repository_id": "1234", "repository_owner_id": "9919", "sub": "repo:o/r", "aud": "keybroker"}
    subject = post(f"{said['issuer']}/_mint", {**claims, "repository": "canary-org/canary-repo"})["token"]
    kinds = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    return subject, post(f"{said['broker']}/token", {**kinds, "audience": "openai", "subject_token": subject})[
        "access_token"
    ]


class Receiver(BaseHTTPRequestHandler):
    """Takes what is sent over OTLP."""

    bodies: list[bytes] = []  # noqa: RUF012  the test's

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_no_secret_in_the_numbers_of_a_server(tmp_path: Path) -> None:
    """Workers add up, `kill -9` of one loses nothing that was shown, and no key, token, principal or model is shown or sent."""
    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        to = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }
        with served({**to, "TMPDIR": str(tmp_path)}) as (said, pid):
            subject, issued = token(said)
            chat = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "canary-words"}]}
            for _ in range(20):
                post(f"{said['edge']}/openai/v1/chat/completions", chat, Authorization=f"Bearer {issued}")
            wait_until(lambda: calls(said) == 20)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            workers = [one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
            os.kill(int(workers[0]), signal.SIGKILL)
            wait_until(lambda: "keybroker_process_starts_total 4.0" in page(said))
            assert calls(said) == 20
            for _ in range(10):
                post(f"{said['edge']}/openai/v1/chat/completions", chat, Authorization=f"Bearer {issued}")
            wait_until(lambda: calls(said) == 30)
            text = page(said)
        receiver.shutdown()
    sent = b"".join(Receiver.bodies)
    assert b"keybroker.calls" in sent
    hidden = [
        subject,
        issued,
        issued.rpartition(".")[2],
        "canary",
        "repository_id",
        "1234",
        "gpt-5",
        said["admin"]["secret_access_key"],
    ]
    for one in [*hidden, "sk-"]:
        assert one not in text, one
        assert one.encode() not in sent, one
    assert not list(tmp_path.glob("keybroker-numbers-*"))
