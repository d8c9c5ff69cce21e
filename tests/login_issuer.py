"""An OIDC issuer with the device flow, over real sockets: a test says what its token endpoint answers."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from tests.scripted_broker import jwt

CLIENT = "keybroker-cli"
PENDING = (400, {"error": "authorization_pending"})
Answer = tuple[int, Mapping[str, Any]] | None
"""Status and members; None closes the connection without an answer."""


@dataclass
class LoginIssuer:
    """The issuer.

    answers: of the token endpoint, in turn; then it issues tokens. asked: path and form of each request. document: the
    answer in the discovery document's place. hold: what a refresh waits for, once it has `arrived`. claims: of its ID tokens, beside the usual ones.
    """

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    discovery: dict[str, object] = field(default_factory=dict)
    codes: dict[str, object] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    refused_scope: str = "none"
    document: Answer = None
    revocation: Answer = (200, {})
    hold: threading.Event | None = None
    arrived: threading.Event = field(default_factory=threading.Event)
    current_refresh: str = ""
    refreshes: int = 0
    now: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.discovery.update(
            issuer=self.url,
            device_authorization_endpoint=f"{self.url}/device/auth",
            token_endpoint=f"{self.url}/token?tenant=1",
            revocation_endpoint=f"{self.url}/revoke",
            scopes_supported=["openid", "offline_access"],
        )
        self.codes.update(
            device_code="device-code-made-up",
            user_code="WDJB-MJHT",
            verification_uri=f"{self.url}/device",
            expires_in=600,
            interval=5,
        )

    def id_token(self, lives: float = 600, **claims: Any) -> str:  # noqa: ANN401  JSON
        """Return an ID token that nobody signed. lives: seconds. claims: any JSON."""
        times = {"iat": self.now, "exp": self.now + int(lives)}
        usual = {"iss": self.url, "aud": CLIENT, "sub": "alice-1", **times}
        return jwt(**{**usual, **self.claims, **claims})

    def answer(self, path: str, form: Mapping[str, str]) -> Answer:
        """Answer a request."""
        if path == "/.well-known/openid-configuration":
            return self.document or (200, self.discovery)
        self.asked.append((path, form))
        if path == "/device/auth":
            refused = form.get("scope") == self.refused_scope
            return (400, {"error": "invalid_scope"}) if refused else (200, self.codes)
        if path == "/revoke":
            return self.revocation
        if path != "/token":
            return 404, {}
        if self.answers:
            return self.answers.pop(0)
        return self._tokens(form)

    def _tokens(self, form: Mapping[str, str]) -> Answer:
        if form["grant_type"] == "refresh_token":
            self.arrived.set()
            if self.hold is not None:
                self.hold.wait(30)
            if form["refresh_token"] != self.current_refresh:
                return 400, {"error": "invalid_grant", "error_description": "used before"}
            self.refreshes += 1
        self.current_refresh = f"refresh-{len(self.asked)}"
        return 200, {"id_token": self.id_token(), "refresh_token": self.current_refresh, "token_type": "Bearer"}


@contextlib.contextmanager
def login_issuer() -> Iterator[LoginIssuer]:
    """Start one, and end it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer(dict(parse_qsl(body, keep_blank_values=True)))

        def _answer(self, form: Mapping[str, str]) -> None:
            found = issuer.answer(self.path.partition("?")[0], form)
            if found is None:
                self.close_connection = True
                return
            data = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = LoginIssuer(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield issuer
        finally:
            server.shutdown()
