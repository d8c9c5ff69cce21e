"""The rows that calls answer. What they revoke is their own token, which is over within minutes."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import warnings
from urllib.parse import urlencode, urlsplit

from infra.verify.installed import FailedError, Installed, NotCheckedError, expect, members
from keybroker.http_client import Response

_FORM = {"content-type": "application/x-www-form-urlencoded"}
_MADE_AT_THE_EDGE = "LambdaGeneratedResponse"
REASON = "make verify"


def a_token(one: Installed) -> None:
    """The broker issues a token whose key is published."""
    header, _ = _parts(one.token())
    jwks = members(one.ask("GET", f"{one.urls['broker']}/.well-known/jwks.json"))
    kids = [key.get("kid") for key in jwks.get("keys", [])]
    expect(holds=header.get("alg") == "ES256", found=f"the token's alg is {header.get('alg')!r}")
    expect(holds=header.get("kid") in kids, found="the token's key is not in the broker's JWKS")


def both_revoke(one: Installed) -> None:
    """An administrator and a holder each revoke a token."""
    _, claims = _parts(one.token())
    _restore(one, _revoke(one, claims["jti"]))
    held = one.ask("POST", f"{one.urls['broker']}/revoke", urlencode({"token": one.token()}).encode(), _FORM)
    expect(holds=held.status == 200, found=f"POST /revoke as its holder: HTTP {held.status}")


def call_is_admitted(one: Installed) -> None:
    """The edge admits a token, so its role can read and count."""
    found = one.call("/v1/models", one.token())
    expect(holds=not _is_ours(found) or found.status == 403, found=f"the edge refuses a token: HTTP {found.status}")


def revocation_holds(one: Installed) -> None:
    """The first call after a revocation is acknowledged is refused."""
    token = one.token()
    before = one.call("/v1/models", token)
    if _is_ours(before):
        raise NotCheckedError(f"the edge refuses the token before it is revoked: HTTP {before.status}")
    revocation = _revoke(one, _parts(token)[1]["jti"])
    try:
        after = one.call("/v1/models", token)
        expect(holds=_is_ours(after) and after.status == 403, found=f"HTTP {after.status} after the revocation")
    finally:
        _restore(one, revocation)


def error_is_not_cached(one: Installed) -> None:
    """A provider's error is not what the next caller gets."""
    path = "/v1/models/none-of-this-name"
    found = one.call(path, one.token())
    if _is_ours(found) or found.status < 400:
        raise NotCheckedError(f"GET {path} with a token is no error of the provider's: HTTP {found.status}")
    after = one.call(path)
    expect(holds=_is_ours(after) and after.status == 401, found=f"HTTP {after.status} without a token")


def gateway_refusals(one: Installed) -> None:
    """API Gateway's own refusals are JSON with a request id."""
    broker, admin = one.urls["broker"], one.urls["admin"]
    for method, url in (
        ("GET", f"{broker}/nowhere"),
        ("POST", f"{broker}/token/iam"),
        ("GET", f"{admin}/admin/policy"),
    ):
        found = one.ask(method, url)
        holds = found.status == 403 and "request_id" in members(found)
        expect(holds=holds, found=f"{method} {url}: HTTP {found.status}, {found.body[:80]!r}")


def every_call_runs_the_function(one: Installed) -> None:
    """Two calls without a token are two refusals of the function's own."""
    found = [one.call("/v1/models") for _ in range(2)]
    statuses = [response.status for response in found]
    expect(holds=statuses == [401, 401], found=f"HTTP {statuses}")
    ids = {response.headers.get("request-id") for response in found}
    expect(holds=len(ids) == 2 and None not in ids, found=f"the request ids are {ids}")
    cached = [response.headers.get("x-cache", "") for response in found]
    expect(holds=all(_MADE_AT_THE_EDGE in text for text in cached), found=f"x-cache is {cached}")


def anthropic_asks_at_the_edge(one: Installed) -> None:
    """The exchange of Anthropic's SDKs at the edge's host is the broker's."""
    found = one.ask("POST", f"{one.urls['edge']}/anthropic/v1/oauth/token", b"{}", {"content-type": "application/json"})
    by_edge = _MADE_AT_THE_EDGE in found.headers.get("x-cache", "")
    holds = found.status == 400 and "error" in members(found) and not by_edge
    expect(holds=holds, found=f"HTTP {found.status}, {found.body[:80]!r}")


def tls_is_new(one: Installed) -> None:
    """The edge's own domain name takes no TLS 1.1."""
    if not one.stage.parameters.get("edge", {}).get("Domain"):
        raise NotCheckedError("the stage has no domain name of its own: set edge.Domain")
    where = urlsplit(one.urls["edge"])
    takes_old_tls(str(where.hostname), where.port or 443)


def takes_old_tls(host: str, port: int) -> None:
    """Raise FailedError if a server takes TLS 1.1, NotCheckedError if that cannot be told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # what is asked is its versions, no secret is sent
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL itself would refuse
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that it is old is what is asked about
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection((host, port), 10) as plain, context.wrap_socket(plain, server_hostname=host):
            raise FailedError("a handshake by TLS 1.1 succeeds")
    except ssl.SSLError as refused:
        if "ALERT" not in (refused.reason or ""):
            raise NotCheckedError(f"no answer to a handshake by TLS 1.1: {refused.reason}") from None
    except OSError as fault:
        raise NotCheckedError(f"no answer to a handshake by TLS 1.1: {type(fault).__name__}") from None


def _is_ours(response: Response) -> bool:
    """Whether the edge itself refuses, and not the provider: its message ends with the request id that its body names."""
    found = members(response)
    error, request = found.get("error"), found.get("request_id")
    ours = isinstance(error, dict) and str(error.get("message", "")).endswith(f"(request {request})")
    return response.status >= 400 and (ours or _MADE_AT_THE_EDGE in response.headers.get("x-cache", ""))


def _revoke(one: Installed, jti: str) -> str:
    body = {"scope": "token", "id": jti, "reason": REASON, "unseen": True}
    made = one.administer("POST", "/admin/revocations", body)
    if made.status == 403:
        raise NotCheckedError("this identity may not revoke: attach the stage's policy `responder` or `administrator`")
    expect(holds=made.status == 201, found=f"POST /admin/revocations: HTTP {made.status}")
    return str(members(made).get("id", ""))


def _restore(one: Installed, revocation: str) -> None:
    ended = one.administer("DELETE", f"/admin/revocations/{revocation}")
    expect(holds=ended.status == 200, found=f"the revocation {revocation} was not ended: HTTP {ended.status}")


def _parts(token: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return a token's header and claims, which the broker has just signed."""
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
    )
    return header, claims
