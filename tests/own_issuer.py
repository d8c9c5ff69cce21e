"""An issuer of assertions that the practice token endpoints trust, and plain requests to them."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.practice.federation.trust import TrustedIssuer
from tests import forge

URL = "https://broker.example.com/federation"
SUBJECT = "spiffe://broker.example.com/key/claude/grant/ci"
_PATIENCE = 10


@dataclass(slots=True)
class Clock:
    """A clock that stands still until a test moves it."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class OwnIssuer:
    """Our issuer, with one key."""

    clock: Callable[[], float]
    audience: str
    key: forge.Key = field(default_factory=lambda: forge.ec_key("ours"))
    url: str = URL

    def jwks(self) -> dict[str, object]:
        """Return what it publishes."""
        return {"keys": [self.key.jwk]}

    def trusted(self) -> TrustedIssuer:
        """Return it as a provider knows it that was given its keys."""
        return TrustedIssuer(self.url, self.jwks(), clock=self.clock)

    def assertion(
        self, key: forge.Key | None = None, *, header: Mapping[str, Any] | None = None, **claims: object
    ) -> str:
        """Sign a good assertion with these members set; one that is None is left out."""
        now = int(self.clock())
        own = {"iss": self.url, "sub": SUBJECT, "aud": self.audience, "iat": now, "nbf": now - 30, "exp": now + 3600}
        whole = {**own, "jti": str(uuid.uuid4()), **claims}
        signer = key or self.key
        head = {"alg": signer.algorithm, "kid": signer.kid, "typ": "JWT", **(header or {})}
        return forge.seal(_json(head), _json(whole), signer)

    def token_for_a_caller(self) -> str:
        """Return a token as the broker gives it to callers: of its other issuer, for the edge."""
        return self.assertion(
            forge.ec_key("callers"), header={"typ": "at+jwt"}, iss="https://broker.example.com", aud="openai"
        )


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. body: None if it is no JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]


def post_json(url: str, body: object, **headers: str) -> Response:
    """Post a body as JSON; bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", url, raw, **{"Content-Type": "application/json", **headers})


def post_form(url: str, body: Mapping[str, str], **headers: str) -> Response:
    """Post a form."""
    raw = urllib.parse.urlencode(body).encode()
    return request("POST", url, raw, **{"Content-Type": "application/x-www-form-urlencoded", **headers})


def request(method: str, url: str, body: bytes | None = None, **headers: str) -> Response:
    """Make a request."""
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=_PATIENCE) as found:
            return _response(found.status, found.read(), dict(found.headers))
    except urllib.error.HTTPError as error:
        with error:
            return _response(error.code, error.read(), dict(error.headers))


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def _response(status: int, raw: bytes, headers: Mapping[str, str]) -> Response:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    return Response(status, body, {name.lower(): value for name, value in headers.items()})
