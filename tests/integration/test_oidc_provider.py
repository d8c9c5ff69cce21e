"""A third-party issuer: `oidc-provider`, which is OpenID-certified, signs and Keybroker verifies. `make test-oidc` runs it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from chalicelib.errors import Refusal
from chalicelib.http import public as public_api
from chalicelib.http.messages import Request
from chalicelib.http.ports import PublicPorts
from chalicelib.issuers.jwks import UNKNOWN_KID_PAUSE
from local.machine import Machine
from local.urls import Urls
from tests.running import JWT, TOKEN_EXCHANGE, Answer, Running, call, start

PROVIDER = Path(__file__).resolve().parent / "oidc_provider"
CALLBACK = "https://client.example/callback"
LOGIN = "nightly-report"
# RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
POLICY = """\
keys:
  openai: {provider: openai}
issuers:
  login: {url: "ISSUER", audience: keybroker, algorithms: [RS256, ES256]}
grants:
  people:  # the subject of the ID tokens, and that of the client's own access token
    key: openai
    to: {issuer: login, claims: {sub: [nightly-report, keybroker]}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 1000/hour, calls: 1000/minute}
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not (PROVIDER / "node_modules" / "oidc-provider").exists(),
    reason="Node or the package oidc-provider is not there: no second issuer was tried (make test-oidc brings it)",
)


class _Browser(urllib.request.HTTPRedirectHandler):
    """Follows redirects with cookies, as far as the client's own address."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(self, urllib.request.HTTPCookieProcessor(CookieJar()))

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: ANN401, PLR0917  as urllib has it
        return None if newurl.startswith(CALLBACK) else super().redirect_request(req, fp, code, msg, headers, newurl)

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """Return the page, and where it sends the browser, else ""."""
        data = urlencode(form).encode() if form is not None else None
        try:
            with self._opener.open(url, data, timeout=10) as answer:
                return answer.read().decode(), ""
        except urllib.error.HTTPError as ended:
            with ended:
                return ended.read().decode(), ended.headers["location"] or ""


@dataclass
class Provider:
    """The issuer while it runs."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(timeout=10)

    def id_token(self, client: str = "keybroker") -> str:
        """Log in and consent as a person does, in the authorization code flow, and return the ID token."""
        asked = {"client_id": client, "response_type": "code", "scope": "openid", "redirect_uri": CALLBACK}
        pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        browser = _Browser()
        page, location = browser.open(f"{self.url}/auth?{urlencode({**asked, **pkce})}")
        for form in ({"prompt": "login", "login": LOGIN, "password": "any"}, {"prompt": "consent"}):
            action = re.search('<form[^>]* action="([^"]+)"', page)
            assert action, page
            page, location = browser.open(action[1], form)
        assert location.startswith(CALLBACK), page
        [code] = parse_qs(urlsplit(location).query)["code"]
        redeemed = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return str(self._token(client, {**redeemed, "code": code})["id_token"])

    def access_token(self) -> str:
        """Return a client's own access token, a JWT with our audience."""
        asked = {"grant_type": "client_credentials", "resource": "https://keybroker.example"}
        return str(self._token("keybroker", asked)["access_token"])

    def _token(self, client: str, form: dict[str, str]) -> Any:  # noqa: ANN401  JSON
        own = {"client_id": client, "client_secret": f"{client}-secret"}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = call("POST", f"{self.url}/token", urlencode({**form, **own}).encode(), headers)
        assert answer.status == 200, answer
        return answer.json


@contextlib.contextmanager
def provider_on(port: int = 0, algorithm: str = "RS256") -> Iterator[Provider]:
    """Start the issuer with a key that it never had before. port: 0 for any free one."""
    command = ["node", str(PROVIDER / "server.mjs"), str(port), algorithm]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROVIDER, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        one = Provider("", node)
        try:
            line = node.stdout.readline()
            assert line, "oidc-provider did not start"
            one.url = json.loads(line)["issuer"]
            yield one
        finally:
            one.stop()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_on() as one:
        yield one


@pytest.fixture(scope="module")
def keybroker(provider: Provider) -> Iterator[Running]:
    with start(policy=POLICY.replace("ISSUER", provider.url)) as one:
        yield one


def exchange(keybroker: Running, subject_token: str, algorithm: str, typ: str) -> Answer:
    """Exchange a token at the running Keybroker, once it is certain that it is the kind of token that is meant."""
    header = jwt.get_unverified_header(subject_token)
    assert (header["alg"], header["typ"]) == (algorithm, typ)
    return keybroker.exchange(subject_token)


def reason_of(keybroker: Running, answer: Answer) -> str:
    """Return why a bare `invalid_grant` was answered, which the log alone knows."""
    assert (answer.status, set(answer.json), answer.json["error"]) == (400, {"error", "request_id"}, "invalid_grant")
    lines = [json.loads(line) for line in keybroker.log.read_text().splitlines() if line.startswith("{")]
    [reason] = [line["reason"] for line in lines if line.get("request_id") == answer.json["request_id"]]
    return str(reason)


def test_an_id_token_made_out_to_us_is_exchanged_and_opens_a_call(provider: Provider, keybroker: Running) -> None:
    answer = exchange(keybroker, provider.id_token(), "RS256", "JWT")
    assert answer.status == 200, answer
    token = answer.json["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == f"{provider.url}|sub:{LOGIN}"
    assert keybroker.complete(token).status == 200


def test_an_id_token_made_out_to_another_client_is_refused(provider: Provider, keybroker: Running) -> None:
    answer = exchange(keybroker, provider.id_token("another"), "RS256", "JWT")
    assert reason_of(keybroker, answer) == "aud_wrong"


def test_access_token_is_refused(provider: Provider, keybroker: Running) -> None:
    """An access token is refused even if its issuer, audience and subject are right."""
    token = provider.access_token()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["sub"]) == (provider.url, "keybroker", "keybroker")
    assert reason_of(keybroker, exchange(keybroker, token, "RS256", "at+jwt")) == "typ_wrong"


# The rotation of the issuer's key. A new key is looked for once a minute, so the clock here is the test's own.


@dataclass
class Clocked:
    """A broker with real parts and a clock that the test sets."""

    ports: PublicPorts
    now: int

    def exchange(self, subject_token: str) -> str:
        """Return "issued", or why it was refused."""
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject_token, "subject_token_type": JWT}
        body = json.dumps({**form, "audience": "openai"}).encode()
        request = Request("req-rotation", {"content-type": "application/json"}, {}, body, {})
        try:
            answer = public_api.token(request, replace(self.ports, clock=lambda: self.now))
        except Refusal as refusal:
            return refusal.reason
        return "issued" if answer.body["access_token"] else ""


def broker_of(issuer: str, directory: Path) -> Clocked:
    """Prepare a machine without starting its processes."""
    (directory / "keybroker.yaml").write_text(POLICY.replace("ISSUER", issuer))
    machine = Machine(directory / "state", Urls("https://broker.example", "https://edge.example", None, None))
    machine.prepare(directory / "keybroker.yaml", {})
    return Clocked(machine.public_ports(), int(time.time()))


def test_issuer_key_rotation(tmp_path: Path) -> None:
    """After the issuer rotates its key, the new key is accepted and the old one is refused."""
    with provider_on() as before:
        broker = broker_of(before.url, tmp_path)
        old = before.id_token()
        assert broker.exchange(old) == "issued"
        before.stop()
        with provider_on(before.port, "ES256") as after:
            new = after.id_token()
            assert broker.exchange(new) == "kid_unknown"  # the keys were fetched within the minute
            assert broker.exchange(old) == "issued"
            broker.now += UNKNOWN_KID_PAUSE
            assert broker.exchange(new) == "issued"
            assert broker.exchange(old) == "kid_unknown"
