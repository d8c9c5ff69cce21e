"""A running Keybroker for tests: `python -m local serve` in a separate process, and what its users do with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parent.parent
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"

POLICY = """\
keys:
  openai:    {provider: openai}
  anthropic: {provider: anthropic}
issuers:
  practice: {preset: practice, audience: keybroker}
grants:
  ci:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions", "POST:/v1/responses", "POST:/v1/embeddings", "GET:/v1/models", "GET:/v1/models/*"]
    quota: {tokens: 1000/hour, calls: [100000/minute]}
  claude:
    key: anthropic
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/messages"]
    quota: {tokens: 1000/hour, calls: [100000/minute]}
  small:
    key: openai
    to: {issuer: practice, claims: {repository_owner_id: "7"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: [3/day], calls: [5/day]}
"""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever was answered
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Running:
    """What serves, and how to use it. Each test takes a repository_id of its own, so that tests do not meet."""

    broker: str
    edge: str
    provider: str
    issuer: str
    admin: dict[str, str]
    state: Path
    request_token: str
    process: subprocess.Popen[str] = field(repr=False)
    log: Path
    administration: str = ""
    """Where `/admin` is; "": at the broker's."""
    keys_not_set: Sequence[str] = ()
    patience: float = 10.0
    """Seconds for which a call is made again while the answer is 503: how busy this machine is, is no test's subject."""

    def impatient(self) -> Running:
        """Return the same, for tests of 503 itself."""
        return replace(self, patience=0.0)

    def mint(self, repository_id: str = "1234", **claims: object) -> str:
        """Return an identity token of the practice issuer."""
        wanted = {
            "aud": "keybroker",
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
            "repository": "octo-org/octo-repo",
            "repository_id": repository_id,
            "repository_owner_id": "9919",
            "event_name": "push",
            **claims,
        }
        return str(call("POST", f"{self.issuer}/_mint", wanted).json["token"])

    def exchange(self, subject_token: str, audience: str = "openai", **more: str) -> Answer:
        """Exchange a subject token."""
        body = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject_token, "subject_token_type": JWT}
        headers = {"idempotency-key": more.pop("idempotency_key")} if "idempotency_key" in more else {}
        return call("POST", f"{self.broker}/token", {**body, "audience": audience, **more}, headers, self.patience)

    def token(self, repository_id: str = "1234", audience: str = "openai", **more: str) -> str:
        """Return a token of ours for a fresh identity token."""
        owner = {"repository_owner_id": more.pop("owner")} if "owner" in more else {}
        answer = self.exchange(self.mint(repository_id, **owner), audience, **more)
        assert answer.status == 200, answer
        return str(answer.json["access_token"])

    def complete(self, token: str, path: str = "/openai/v1/chat/completions", **headers: str) -> Answer:
        """Make one call through the edge."""
        body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}
        named = {"authorization": f"Bearer {token}", **headers}
        return call("POST", self.edge + path, body, named, self.patience)

    def administer(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make one signed call of an administrator."""
        data = None if body is None else json.dumps(body).encode()
        named = {"content-type": "application/json"} if data else {}
        url = (self.administration or self.broker) + path
        request = AWSRequest(method, url, data=data, headers={**named, **(headers or {})})
        keys = Credentials(self.admin["access_key_id"], self.admin["secret_access_key"])
        SigV4Auth(keys, "execute-api", self.admin["region"]).add_auth(request)
        return call(method, url, data, dict(request.headers), self.patience)

    def revoke(self, scope: str, target: str, **more: object) -> str:
        """Revoke something, whether it was seen or not, and return the revocation's id."""
        unseen = {"unseen": True} if scope in ("principal", "token") else {}
        body = {"scope": scope, "id": target, "reason": "a test", **unseen, **more}
        answer = self.administer("POST", "/admin/revocations", body)
        assert answer.status == 201, answer
        return str(answer.json["id"])

    def job(self, programs: str) -> dict[str, str]:
        """Return the variables of a CI's job, whose identity this admits. programs: the folder of `keybroker`."""
        return {
            "PATH": f"{programs}{os.pathsep}{os.defpath}",
            "KEYBROKER_URL": self.broker,
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuer}/_runner/token",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.request_token,
            # A client that takes the public address in spite of all gets nowhere.
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }

    def sub(self, repository_id: str) -> str:
        """Return the `sub` of a repository's tokens."""
        return f"{self.issuer}|repository_id:{repository_id}"


def call(
    method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None, patience: float = 10.0
) -> Answer:
    """Make one HTTP call; bytes are sent as they are, anything else as JSON.

    patience: seconds for which it is made again while the answer is a 503 that asks for that, as an SDK would do.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data, {**named, **(headers or {})}, method=method)
    ends = time.monotonic() + patience
    while (answer := _answer(request)).status == 503 and _retryable(answer) and time.monotonic() < ends:
        time.sleep(0.1)
    return answer


def _retryable(answer: Answer) -> bool:
    return "retry-after" in {name.lower() for name in answer.headers}


def _answer(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@contextlib.contextmanager
def start(
    *arguments: str, policy: str = POLICY, directory: Path | None = None, open_files: int | None = None
) -> Iterator[Running]:
    """Start Keybroker, and stop it again.

    directory: where state, policy and log go; thrown away unless given. open_files: the most it may have; None: as here
    """
    with contextlib.ExitStack() as stack:
        here = directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (here / "keybroker.yaml").write_text(policy)
        log = stack.enter_context((here / "log").open("a"))
        state = ["--state", str(here / "state"), "--policy", str(here / "keybroker.yaml")]
        limited = [] if open_files is None else ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh"]
        command = [*limited, sys.executable, "-m", "local", "serve", "--port", "0", "--json", *state, *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (here / "log").read_text()
            said = json.loads(line)
            said["state"] = Path(said["state"])
            yield Running(**said, process=process, log=here / "log")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=15)
            if process.stdout is not None:
                process.stdout.close()


def wait_until(condition: Any, seconds: float = 10.0) -> None:  # noqa: ANN401  any callable
    """Wait for a condition, with a bound; raises TimeoutError."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.02)
