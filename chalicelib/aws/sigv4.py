"""Signature Version 4 of a POST to `/`, which is all that AWS's JSON protocols need, with the standard library."""

from __future__ import annotations

import functools
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """What requests are signed with. session_token: "" if there is none."""

    key_id: str
    secret: str
    session_token: str = ""

    def __repr__(self) -> str:
        """Hide the secret."""
        return "Credentials(…)"


class Scope(NamedTuple):
    """What a signature is good for."""

    region: str
    service: str


def signed(
    headers: Mapping[str, str], body: bytes, credentials: Credentials, scope: Scope, now: float
) -> dict[str, str]:
    """Return the headers with those that sign them and the body. headers: `host` among them. now: epoch seconds."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    every = {name.lower(): value for name, value in headers.items()} | {"x-amz-date": moment}
    if credentials.session_token:
        every["x-amz-security-token"] = credentials.session_token
    ordered = sorted(every.items())
    names = ";".join([name for name, _ in ordered])
    lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in ordered])
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    place = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{moment}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret, moment[:8], *scope)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    every["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{place}, SignedHeaders={names}, Signature={signature}"
    )
    return every


@functools.lru_cache(maxsize=4)
def _signing_key(secret: str, *parts: str) -> bytes:
    """Return the key of a day, region and service."""
    key: Any = f"AWS4{secret}".encode()
    for part in (*parts, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return bytes(key)
