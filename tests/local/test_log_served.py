"""The log of a server to which long things are sent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.log import LINE_BYTES
from tests.running import JWT, POLICY, ROOT, TOKEN_EXCHANGE, call

LONG = "n" * 2**20


def _send(url: str, *pieces: str) -> None:
    """Send a request as it is, whatever is answered, and as far as it is taken."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=5) as one:
        one.sendall("".join(pieces).encode())
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass


def _exchange(said: dict[str, str], **claims: object) -> None:
    wanted = {"aud": "keybroker", "sub": "s", "repository_id": "1", "repository_owner_id": "9919", **claims}
    token = call("POST", f"{said['issuer']}/_mint", wanted).json["token"]
    body = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": JWT, "audience": "openai"}
    call("POST", f"{said['broker']}/token", body)


@pytest.mark.slow
def test_nothing_that_is_sent_makes_a_long_line(tmp_path: Path) -> None:
    """Whatever header, path, claim or name of a MiB is sent to any door, each line of the log is a bounded JSON object."""
    (tmp_path / "keybroker.yaml").write_text(POLICY)
    where = ["--state", str(tmp_path / "state"), "--policy", str(tmp_path / "keybroker.yaml")]
    command = [sys.executable, "-m", "local", "serve", "--port", "0", "--json", *where]
    environment = {**os.environ, "KEYBROKER_LOG": "json"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline()]
        while b'"broker"' not in lines[-1]:
            assert lines[-1], process.stderr.read()
            lines.append(process.stdout.readline())
        said = json.loads(lines.pop())
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        for door in ("broker", "edge"):
            for pieces in (
                ("GET /openai/v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ", LONG, "\r\n\r\n"),
                ("GET /openai/v1/models HTTP/1.1\r\nhost: x\r\n", LONG, ": x\r\n\r\n"),
                ("GET /", LONG, " HTTP/1.1\r\nhost: x\r\n\r\n"),
                (LONG, " / HTTP/1.1\r\nhost: x\r\n\r\n"),
                ("GET /", LONG[:8000], " HTTP/1.1\r\nhost: x\r\nx-request-id: ", LONG[:8000], "\r\n\r\n"),
                ("POST /token HTTP/1.1\r\nhost: ", LONG[:8000], "\r\ncontent-length: 2\r\n\r\n{}"),
            ):
                _send(said[door], *pieces)
        for claims in (
            {"sub": LONG[:20_000]},
            {"repository_id": LONG[:20_000]},
            {"iss": f"https://{LONG[:20_000]}.example"},
        ):
            _exchange(said, **claims)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        reader.join()
        errors = process.stderr.read()
    assert len(lines) > 5
    for line in lines:
        assert len(line) <= LINE_BYTES + 1
        assert {"time"} <= json.loads(line).keys()
    assert errors == b""
