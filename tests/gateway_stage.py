"""The tables of a stage with a policy, a key and tokens in them, and gateways over them in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chalicelib.aws.dynamodb import Tables
from chalicelib.aws.provider_key_store import SecretsManagerKeyStore
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.policy.grants import Grant
from chalicelib.providers.keys import ProviderKey
from chalicelib.quota import Limit
from tests.contracts import dynamodb_adapters, samples
from tests.contracts.adapters import Adapters
from tests.contracts.verbs import BROKER, Keys, Verbs
from tests.running import ROOT, Answer, call, wait_until

REGION = "us-east-1"
VERSION = "0123456789abcdefghijkl"
SECRET = "sk-made-up"
EDGE = "https://edge.example.com"
MANY = (Limit(1_000_000, "day"),)


class _Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Provider

    def do_POST(self) -> None:
        """Answer a completion of the model that is asked for, once it may."""
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))) or b"{}")
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        usage = {"prompt_tokens": 9, "completion_tokens": 4}
        body = json.dumps({"model": asked.get("model"), "choices": [], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1])
        self.wfile.flush()
        self.server.may_end.wait(30)
        self.wfile.write(body[1:])

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Provider(ThreadingHTTPServer):
    """A provider. seen: the headers of each call. may_end: until it is set, an answer has begun and does not end."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Provider)
        self.seen: list[Mapping[str, str]] = []
        self.may_end = threading.Event()
        self.may_end.set()

    @property
    def origin(self) -> str:
        """Where it is, as a key's origin."""
        return f"http://localhost:{self.server_address[1]}"

    def handle_error(self, *_arguments: object) -> None:
        """Pass over a caller that hung up."""


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider."""
    with Provider() as one:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield one
        finally:
            one.may_end.set()
            one.shutdown()


@dataclass
class GatewayStage:
    """What gateways serve. url: of AWS. name: the prefix of the tables. keys: that tokens are signed with."""

    url: str
    name: str
    tables: Tables
    keys: Keys
    adapters: Adapters = field(init=False)
    verbs: Verbs = field(init=False)

    def __post_init__(self) -> None:
        self.adapters = dynamodb_adapters.over(self.tables)
        self.verbs = Verbs(self.adapters, self.keys)

    def fill(self, secrets: Any, origin: str) -> None:  # noqa: ANN401  a client of Secrets Manager
        """Put a policy in force, and a key with its origin. secrets: where that is kept."""
        DynamoSigningKeys(self.tables).publish(self.keys.broker.public_jwk)
        self.verbs.list_signing_keys()
        self.put_in_force(samples.grant(calls=MANY, issued=MANY))
        self.set_key(secrets, origin, VERSION)

    def set_key(self, secrets: Any, origin: str, version: str) -> None:  # noqa: ANN401  as above
        """Put a version of the key in force. A version is written once."""
        key = ProviderKey(version, origin, "authorization", "Bearer ", SECRET)
        SecretsManagerKeyStore(lambda: secrets, self.name, "alias/aws/secretsmanager").put("openai", key)
        event = samples.event("key.set", key="openai")
        self.adapters.control.set_key("openai", samples.key_version(version), event)

    def put_in_force(self, *grants: Grant) -> None:
        """Put a policy of these grants in force, as of now."""
        samples.put_in_force(self.adapters.control, *grants, at=int(time.time()))

    def token(self, subject: str = "build-1") -> str:
        """Return a token of ours for a fresh identity token."""
        now = int(time.time())
        made = self.verbs.exchange(self.verbs.subject_token(subject, now), "ci", now)
        assert isinstance(made, str), made
        return made


@dataclass
class Gateway:
    """One that runs. url: where."""

    url: str
    process: subprocess.Popen[str] = field(repr=False)
    log: Path

    def complete(self, token: str, patience: float = 0.0, body: object = None) -> Answer:
        """Make one call. patience: seconds for which it is made again while it is put off."""
        sent = body or {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
        named = {"authorization": f"Bearer {token}"}
        return call("POST", f"{self.url}/openai/v1/chat/completions", sent, named, patience)

    def ready(self) -> tuple[int, str]:
        """Ask whether it should get calls."""
        found = call("GET", f"{self.url}/readyz", patience=0.0)
        return found.status, found.body.decode().strip()


@contextlib.contextmanager
def gateway(stage: GatewayStage, directory: Path, *arguments: str, wait: bool = True) -> Iterator[Gateway]:
    """Run one, and stop it. wait: until it is ready."""
    told = ["--region", REGION, "--stage", stage.name, "--issuer", BROKER, "--url", EDGE, "--port", "0", "--json"]
    given = [*told, "--drain-delay", "0", "--drain", "1", *arguments]
    with _running(stage, directory, ["-m", "local", "gateway", *given]) as (line, process, log):
        one = Gateway(line["gateway"], process, log)
        if wait:
            wait_until(lambda: one.ready()[0] == 200, 30)
        yield one


def configured(*, stage: str, signing_key: str, doors: str = "", **changes: str) -> str:
    """The text of a configuration file with both doors, but for what is changed."""
    told = {"region": REGION, "stage": stage, "issuer": BROKER, "signing_key": signing_key, **changes}
    both = f"[broker]\nlisten = '127.0.0.1:0'\n[edge]\nlisten = '127.0.0.1:0'\npublic_url = '{EDGE}'\n"
    tables = "[tables]\n" + "".join(f"{name} = {value!r}\n" for name, value in told.items())
    return f"{tables}[timeouts]\ndrain_delay_seconds = 0\ndrain_seconds = 2\n{doors or both}"


@contextlib.contextmanager
def serving(stage: GatewayStage, directory: Path, text: str, *arguments: str) -> Iterator[dict[str, Gateway]]:
    """Run `serve` with a configuration file over the stage's tables, and stop it; gives what runs, by door."""
    path = directory / f"keybroker-{time.monotonic_ns()}.toml"
    path.write_text(text)
    told = ["-m", "local", "--installed", "serve", "--config", str(path), "--json", *arguments]
    with _running(stage, directory, told) as (line, process, log):
        doors = {name: Gateway(url, process, log) for name, url in line.items()}
        for one in doors.values():
            wait_until(lambda one=one: one.ready()[0] == 200, 30)
        yield doors


@contextlib.contextmanager
def _running(
    stage: GatewayStage, directory: Path, arguments: list[str]
) -> Iterator[tuple[dict[str, str], subprocess.Popen[str], Path]]:
    log = directory / f"log-{time.monotonic_ns()}"
    environment = environment_of(stage.url)
    command = [sys.executable, *arguments]
    with log.open("w") as written:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=written, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line), process, log
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


def environment_of(url: str) -> dict[str, str]:
    """Return what a gateway is told by its environment: where AWS is, and made-up credentials."""
    return {
        "PATH": os.defpath,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
