"""A broker's token endpoint of which a test says what it answers, and the surroundings of a program that asks it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl

import pytest

from keybroker import aws
from keybroker.sources import google

Script = Callable[["Handler", int], None]
"""Answers a request, given which one it is, from 1 on."""
IDENTITY_VARIABLES = ("KEYBROKER_", "GITHUB_", "ACTIONS_ID_", "GITLAB_", "CIRCLE", "BUILDKITE", "KUBERNETES_", "AWS_", "GCE_", "K_SERVICE", "CLOUD_RUN_")  # fmt: skip
_NUMBERS = count(1)


@dataclass
class ReceivedRequest:
    """One request: its path, its form and its headers, these by their names in lower case."""

    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)


@dataclass
class Broker:
    """What answers. script: may be changed at any time. release: what `when_released` waits for. audience: what it says it has."""

    url: str
    script: Script
    asked: list[ReceivedRequest] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    audience: str = ""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    broker: Broker
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.broker.asked.append(ReceivedRequest(self.path, dict(parse_qsl(body)), headers))
        self.broker.script(self, len(self.broker.asked))

    def do_GET(self) -> None:
        audience = self.broker.audience
        self.answer(200, {"audience": audience}) if audience else self.answer(404, {"error": "not_found"})

    def answer(self, status: int, members: object, **headers: str) -> None:
        """Answer with JSON. headers: `_` stands for `-`."""
        data = json.dumps(members).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def good(handler: Handler, _number: int, lives: int = 900) -> None:
    """Answer with a token that no other answer has."""
    broker = handler.broker
    body = {"access_token": f"token.{next(_NUMBERS)}.text", "token_type": "Bearer", "expires_in": lives}
    handler.answer(200, {**body, "scope": "GET:/v1/models", "base_url": f"{broker.url}/edge"})


def lives(seconds: int) -> Script:
    """Answer with tokens that live so long."""
    return lambda handler, number: good(handler, number, seconds)


def refused(status: int, error: str, description: str = "", **headers: str) -> Script:
    """Answer every request with a refusal."""
    body = {"error": error, **({"error_description": description} if description else {})}
    return lambda handler, _: handler.answer(status, body, **headers)


def dropped(handler: Handler, _number: int) -> None:
    """Take the request and answer nothing."""
    handler.drop()


def in_turn(*scripts: Script) -> Script:
    """Answer the first request with the first script, and so on; the last one goes on."""
    return lambda handler, number: scripts[min(number, len(scripts)) - 1](handler, number)


def when_released(handler: Handler, number: int) -> None:
    """Answer well, once the test releases it."""
    handler.broker.release.wait(30)
    with contextlib.suppress(OSError):
        good(handler, number)


@contextlib.contextmanager
def scripted(script: Script = good) -> Iterator[Broker]:
    """Serve a broker that answers by a script."""
    handler = type("ThisHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        broker = Broker(f"http://127.0.0.1:{server.server_port}", script)
        handler.broker = broker  # type: ignore[attr-defined]  # of the class made here
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield broker
        finally:
            broker.release.set()
            server.shutdown()
            thread.join(10)


def bare_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away whatever says who the test is: a CI's variables, and AWS credentials."""
    for name in [name for name in os.environ if name.startswith(IDENTITY_VARIABLES)]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent")  # no person's login
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws._chain.cache_clear()  # it keeps what it found for whichever test was before
    monkeypatch.setattr(google, "PRODUCT_FILE", "/nonexistent")  # the test may run on a machine of Google's


def jwt(**claims: object) -> str:
    """Return a token of this shape, signed by nobody."""
    parts = ({"alg": "none"}, claims, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts)
