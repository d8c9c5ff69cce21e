"""A server whose keys a KMS key seals, over a KMS of a few lines that counts its requests."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import sealing
from tests.local.test_serve import _workers
from tests.running import start, wait_until

ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


class Kms(ThreadingHTTPServer):
    """Wraps data keys with their context, in base64."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, str]:
        """Answer one request."""
        self.asked.append(operation)
        assert request["KeyId"] == ARN
        if operation == "Decrypt":
            wrapped = json.loads(base64.b64decode(request["CiphertextBlob"]))
            assert wrapped["context"] == request["EncryptionContext"]
            return {"KeyId": ARN, "Plaintext": wrapped["plain"]}
        plain = base64.b64encode(secrets.token_bytes(32)).decode()
        wrapped = json.dumps({"plain": plain, "context": request["EncryptionContext"]}).encode()
        return {"KeyId": ARN, "Plaintext": plain, "CiphertextBlob": base64.b64encode(wrapped).decode()}


class _Handler(BaseHTTPRequestHandler):
    server: Kms

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(self.server.answer(self.headers["x-amz-target"].rpartition(".")[2], body)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_a_server_outlives_its_kms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS is asked by the start alone; without it calls, new values and workers that take another's place go on."""
    with Kms() as kms:
        threading.Thread(target=kms.serve_forever, daemon=True).start()
        for name, value in {
            sealing.KMS_VARIABLE: ARN,
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{kms.server_port}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "made-up",
        }.items():
            monkeypatch.setenv(name, value)
        with start("--workers", "2", directory=tmp_path) as running:
            assert sorted(kms.asked) == ["GenerateDataKey"] * 2
            kms.shutdown()
            kms.server_close()
            for number in (1, 2):
                before = _workers(running.process.pid)
                os.kill(before[0], signal.SIGKILL)
                text = f"worker {number} serves again"
                wait_until(lambda: text in running.log.read_text())  # noqa: B023  used at once
            assert [running.complete(running.token("1234")).status for _ in range(20)] == [200] * 20
            assert "kms" not in running.log.read_text()
            files = [running.state / name for name in ("signing-key.pem", "provider-keys.json")]
            assert {one.read_text()[:19] for one in files} == {sealing.KMS_MARK}
