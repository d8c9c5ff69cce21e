"""Who signed this request? AWS Signature Version 4, verified on one machine.

botocore's own signer writes the signature anew, from what arrived and the secret that is known here; the two are
compared. Nothing in this file canonicalises a request: a second canonicaliser would differ from the first, and each
difference is a way in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPMessage
from urllib.parse import parse_qsl

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import normalize_url_path

SERVICE = "execute-api"
CLOCK_WINDOW_SECONDS = 300
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_HEAD_CHARACTERS = 16 * 1024

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w{1,128})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,32})/(?P<service>[\w-]{1,64})/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9._;-]{1,2048}), ?Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_TARGET = re.compile(r"/[!\"$-~]*")  # printable ASCII without '#', of which urlsplit would drop the rest unsigned
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")


class SignatureRefused(Exception):  # noqa: N818  the product's word for a "no"
    """The request is not signed by anyone known here. The text is a short reason: no secret, no signature, no value."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed, in the words of API Gateway's `requestContext.identity`.

    access_key_id: `accessKey`. account: `accountId`, 12 digits. arn: `userArn`. user_id: `user` and `caller`
    (for a role the `AROA…` id, a colon and the session's name).
    """

    access_key_id: str
    account: str
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of one access key: its secret, whose it is, and the session token if it is a temporary one."""

    secret: str = field(repr=False)
    caller: Caller
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived. target: path and query, still percent-encoded. headers: in order, repeats kept."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the Authorization header says, not yet believed."""

    key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str = field(repr=False)


class _AsSigned(SigV4Auth):
    """botocore's signer over exactly the headers that it is given: its own list of headers to skip differs by version."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        return request.headers


def verify(request: SignedRequest, credentials: Mapping[str, Credential], *, region: str, now: int) -> Caller:
    """The caller whose secret signed this request.

    credentials: by access key id. region: ours. now: seconds since 1970.
    Raises SignatureRefused: unsigned, malformed, too large, signed for another service, region or time, by an unknown
    key, or not what was signed.
    """
    headers = _headers(request)
    claim = _claim(headers)
    _check_target(request.target)
    timestamp = _check_headers(headers, claim)
    _check_scope(claim, timestamp, region)
    _check_clock(timestamp, now)
    _check_body(headers, request.body)
    credential = credentials.get(claim.key)
    if credential is None:
        raise SignatureRefused("the access key is unknown")
    _check_session_token(headers, credential)
    expected = _signatures(request, claim, credential, timestamp)
    # SECURITY: constant time, over every way, so that a guess learns nothing
    # (test_a_signature_by_another_secret_is_refused).
    matches = [hmac.compare_digest(signature, claim.signature) for signature in expected]
    if not any(matches):
        raise SignatureRefused("the signature does not match the request")
    return credential.caller


def _headers(request: SignedRequest) -> dict[str, list[str]]:
    if len(request.body) > MAX_BODY_BYTES:
        raise SignatureRefused("the body is too large")
    if len(request.target) + sum(len(name) + len(value) for name, value in request.headers) > MAX_HEAD_CHARACTERS:
        raise SignatureRefused("the headers are too large")
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        # Surrogates are bytes that were not UTF-8; non-ASCII names could become an ASCII one in lower().
        if not name.isascii() or any("\ud800" <= character <= "\udfff" for character in value):
            raise SignatureRefused("a header is not text")
        headers.setdefault(name.lower(), []).append(value)
    for name, values in headers.items():
        # SECURITY: which of two would count is open to doubt (test_a_second_authorization_is_refused).
        if len(values) > 1 and (name in {"authorization", "host"} or name.startswith("x-amz-")):
            raise SignatureRefused(f"{name} occurs more than once")
    return headers


def _claim(headers: Mapping[str, list[str]]) -> _Claim:
    if "authorization" not in headers:
        raise SignatureRefused("the request is not signed")
    found = _AUTHORIZATION.fullmatch(headers["authorization"][0])
    if found is None:
        raise SignatureRefused("the Authorization header is not an AWS Signature Version 4")
    return _Claim(
        key=found["key"],
        day=found["day"],
        region=found["region"],
        service=found["service"],
        signed=tuple(found["signed"].split(";")),
        signature=found["signature"],
    )


def _check_target(target: str) -> None:
    if not _TARGET.fullmatch(target):
        raise SignatureRefused("the path is not percent-encoded")
    path, _, query = target.partition("?")
    # SECURITY: what is signed is the path without empty and dot segments; a router sees the path as it is, so that one
    # signature would open two routes (test_a_path_that_the_signature_does_not_tell_apart_is_refused).
    if normalize_url_path(path) != path:
        raise SignatureRefused("the path has empty or dot segments")
    if any(name.lower().startswith("x-amz-") for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise SignatureRefused("a signature in the query is not accepted")


def _check_headers(headers: Mapping[str, list[str]], claim: _Claim) -> str:
    if "x-amz-date" not in headers:
        raise SignatureRefused("x-amz-date is missing")
    if "host" not in claim.signed:
        raise SignatureRefused("host is not signed")
    if any(name.startswith("x-amz-") and name not in claim.signed for name in headers):
        raise SignatureRefused("an x-amz- header is not signed")
    if any(name not in headers for name in claim.signed):
        raise SignatureRefused("a signed header is missing")
    return headers["x-amz-date"][0]


def _check_scope(claim: _Claim, timestamp: str, region: str) -> None:
    if claim.service != SERVICE:
        raise SignatureRefused("signed for another service")
    if claim.region != region:
        raise SignatureRefused("signed for another region")
    if claim.day != timestamp[:8]:
        raise SignatureRefused("x-amz-date is not of the day that was signed for")


def _check_clock(timestamp: str, now: int) -> None:
    if not _DATE.fullmatch(timestamp):
        raise SignatureRefused("x-amz-date is not a time")
    try:
        signed_at = datetime.strptime(timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureRefused("x-amz-date is not a time") from None
    if abs(now - signed_at) > CLOCK_WINDOW_SECONDS:
        raise SignatureRefused("x-amz-date is too far from now")


def _check_body(headers: Mapping[str, list[str]], body: bytes) -> None:
    stated = headers.get("x-amz-content-sha256")
    # SECURITY: botocore takes the header's word for the body, UNSIGNED-PAYLOAD too
    # (test_a_stated_hash_of_another_body_is_refused).
    if stated is not None and stated[0] != hashlib.sha256(body).hexdigest():
        raise SignatureRefused("x-amz-content-sha256 is not the hash of the body")


def _check_session_token(headers: Mapping[str, list[str]], credential: Credential) -> None:
    sent = headers.get("x-amz-security-token", [""])[0]
    if not hmac.compare_digest(sent.encode(), (credential.session_token or "").encode()):
        raise SignatureRefused("the session token is not this key's")


def _signatures(request: SignedRequest, claim: _Claim, credential: Credential, timestamp: str) -> list[str]:
    """What the known secret gives for the request: once with the query as it stands, once with it decoded.

    botocore's clients write a query down in two ways. In the URL it is signed as it stands; given as `params` it is
    signed with %20 for a space and sent with a plus. Both mean the same to whoever reads the query.
    """
    signer = _AsSigned(ReadOnlyCredentials(claim.key, credential.secret, None), claim.service, claim.region)
    path, _, query = request.target.partition("?")
    ways: list[tuple[str, list[tuple[str, str]]]] = [(request.target, [])]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        pairs = []
    if pairs:
        ways.append((path, pairs))
    signatures = []
    for target, params in ways:
        # http, because over https botocore may leave the body out; the host that counts is the header's.
        rebuilt = AWSRequest(method=request.method, url=f"http://localhost{target}", data=request.body)
        rebuilt.params = params  # type: ignore[assignment]  # botocore takes pairs too; the stubs know of mappings only
        for name, value in request.headers:
            if name.lower() in claim.signed:
                rebuilt.headers[name.lower()] = value
        rebuilt.context["timestamp"] = timestamp
        to_sign = signer.string_to_sign(rebuilt, signer.canonical_request(rebuilt))
        signatures.append(signer.signature(to_sign, rebuilt))
    return signatures
