"""Verifies AWS Signature Version 4 on one machine.

botocore's own signer computes the signature again, from the request as received and the stored secret; the two are
compared. Nothing in this file canonicalises a request: a second canonicaliser would differ from botocore's, and each
difference is a way in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
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


class InvalidSignatureError(Exception):
    """The request has no valid signature of a known caller. The text is a short reason, without any value sent."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request, as in API Gateway's `requestContext.identity`.

    access_key_id: `accessKey`
    account: `accountId`, 12 digits
    arn: `userArn`
    user_id: `user` and `caller`; for a role the `AROA…` ID, a colon and the session's name
    """

    access_key_id: str
    account: str
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Credential:
    """One access key: its secret, its caller, and the session token if it is temporary."""

    secret: str = field(repr=False)
    caller: Caller
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as received. target: path and query, still percent-encoded. headers: in order, repeats kept."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Authorization:
    """The Authorization header, not verified yet.

    key: the access key ID
    day, region, service: the credential scope; day is YYYYMMDD
    signed: the names in SignedHeaders
    signature: 64 hexadecimal digits
    """

    key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str = field(repr=False)


class _ExactHeadersSigner(SigV4Auth):
    """botocore's signer, for exactly the given headers: its own list of headers to skip differs between versions."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        return request.headers


def verify(
    request: SignedRequest, credentials: Mapping[str, Credential], *, region: str, hosts: Collection[str], now: int
) -> Caller:
    """Return the caller whose secret signed this request.

    credentials: by access key ID. region: of this API. hosts: its own names, in lower case.
    now: seconds since 1970.
    Raises InvalidSignatureError: unsigned, malformed or too large; signed for another service, region, host or time, or with
    an unknown key; or changed after it was signed.
    """
    headers = _parse_headers(request)
    authorization = _parse_authorization(headers)
    _check_target(request.target)
    timestamp = _check_headers(headers, authorization)
    _check_host(headers, hosts)
    _check_scope(authorization, timestamp, region)
    _check_clock(timestamp, now)
    _check_body(headers, request.body)
    credential = credentials.get(authorization.key)
    if credential is None:
        raise InvalidSignatureError("the access key is unknown")
    _check_session_token(headers, credential)
    expected = _expected_signatures(request, authorization, credential, timestamp)
    # SECURITY: constant time, over every form, so that a guess reveals nothing
    # (test_a_signature_by_another_secret_is_refused).
    matches = [hmac.compare_digest(signature, authorization.signature) for signature in expected]
    if not any(matches):
        raise InvalidSignatureError("the signature does not match the request")
    return credential.caller


def _parse_headers(request: SignedRequest) -> dict[str, list[str]]:
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidSignatureError("the body is too large")
    if len(request.target) + sum(len(name) + len(value) for name, value in request.headers) > MAX_HEAD_CHARACTERS:
        raise InvalidSignatureError("the headers are too large")
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        # Surrogates stand for bytes that are not UTF-8; lower() can turn a non-ASCII name into an ASCII one.
        if not name.isascii() or any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidSignatureError("a header is not text")
        headers.setdefault(name.lower(), []).append(value)
    for name, values in headers.items():
        # SECURITY: which of two would count is ambiguous (test_a_second_authorization_is_refused).
        if len(values) > 1 and (name in {"authorization", "host"} or name.startswith("x-amz-")):
            raise InvalidSignatureError(f"{name} occurs more than once")
    return headers


def _parse_authorization(headers: Mapping[str, list[str]]) -> _Authorization:
    if "authorization" not in headers:
        raise InvalidSignatureError("the request is not signed")
    found = _AUTHORIZATION.fullmatch(headers["authorization"][0])
    if found is None:
        raise InvalidSignatureError("the Authorization header is not an AWS Signature Version 4")
    return _Authorization(
        key=found["key"],
        day=found["day"],
        region=found["region"],
        service=found["service"],
        signed=tuple(found["signed"].split(";")),
        signature=found["signature"],
    )


def _check_target(target: str) -> None:
    if not _TARGET.fullmatch(target):
        raise InvalidSignatureError("the path is not percent-encoded")
    path, _, query = target.partition("?")
    # SECURITY: the signature covers the path without empty and dot segments, but a router sees the path as sent, so that
    # one signature would be valid for two routes (test_path_outside_the_signature_is_refused).
    if normalize_url_path(path) != path:
        raise InvalidSignatureError("the path has empty or dot segments")
    if any(name.lower().startswith("x-amz-") for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise InvalidSignatureError("a signature in the query is not accepted")


def _check_headers(headers: Mapping[str, list[str]], authorization: _Authorization) -> str:
    if "x-amz-date" not in headers:
        raise InvalidSignatureError("x-amz-date is missing")
    if "host" not in authorization.signed:
        raise InvalidSignatureError("host is not signed")
    if any(name.startswith("x-amz-") and name not in authorization.signed for name in headers):
        raise InvalidSignatureError("an x-amz- header is not signed")
    if any(name not in headers for name in authorization.signed):
        raise InvalidSignatureError("a signed header is missing")
    return headers["x-amz-date"][0]


def _check_host(headers: Mapping[str, list[str]], hosts: Collection[str]) -> None:
    # SECURITY: a request that was signed for another API of this region would be valid here, and one that a page in a
    # browser has sent to its own name, which now resolves to this machine (test_a_request_for_another_host_is_refused).
    # The port may be any: forwarded through SSH or published by a container it is another one than the broker's.
    if re.sub(r":[0-9]+\Z", "", headers.get("host", [""])[0].lower()) not in hosts:
        raise InvalidSignatureError("signed for another host than this broker's")


def _check_scope(authorization: _Authorization, timestamp: str, region: str) -> None:
    if authorization.service != SERVICE:
        raise InvalidSignatureError("signed for another service")
    if authorization.region != region:
        raise InvalidSignatureError("signed for another region")
    if authorization.day != timestamp[:8]:
        raise InvalidSignatureError("x-amz-date is not on the day of the credential scope")


def _check_clock(timestamp: str, now: int) -> None:
    if not _DATE.fullmatch(timestamp):
        raise InvalidSignatureError("x-amz-date is not a time")
    try:
        signed_at = datetime.strptime(timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidSignatureError("x-amz-date is not a time") from None
    if abs(now - signed_at) > CLOCK_WINDOW_SECONDS:
        raise InvalidSignatureError("x-amz-date is too far from now")


def _check_body(headers: Mapping[str, list[str]], body: bytes) -> None:
    stated = headers.get("x-amz-content-sha256")
    # SECURITY: botocore signs the hash that the header states, even UNSIGNED-PAYLOAD
    # (test_a_stated_hash_of_another_body_is_refused).
    if stated is not None and stated[0] != hashlib.sha256(body).hexdigest():
        raise InvalidSignatureError("x-amz-content-sha256 is not the hash of the body")


def _check_session_token(headers: Mapping[str, list[str]], credential: Credential) -> None:
    sent = headers.get("x-amz-security-token", [""])[0]
    if not hmac.compare_digest(sent.encode(), (credential.session_token or "").encode()):
        raise InvalidSignatureError("the session token does not belong to the access key")


def _expected_signatures(
    request: SignedRequest, authorization: _Authorization, credential: Credential, timestamp: str
) -> list[str]:
    """Return the signatures that the stored secret gives: with the query as sent, and with the query decoded.

    botocore's clients send a query in two forms. In the URL, it is signed as it is; passed as `params`, it is signed with
    %20 for a space and sent with a plus. A server reads both alike.
    """
    signer = _ExactHeadersSigner(
        ReadOnlyCredentials(authorization.key, credential.secret, None), authorization.service, authorization.region
    )
    path, _, query = request.target.partition("?")
    forms: list[tuple[str, list[tuple[str, str]]]] = [(request.target, [])]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        pairs = []
    if pairs:
        forms.append((path, pairs))
    signatures = []
    for target, params in forms:
        # http, since over https botocore may not sign the body; the host that is signed is the header's.
        rebuilt = AWSRequest(method=request.method, url=f"http://localhost{target}", data=request.body)
        rebuilt.params = params  # type: ignore[assignment]  # botocore takes pairs too; its stubs allow only mappings
        for name, value in request.headers:
            if name.lower() in authorization.signed:
                rebuilt.headers[name.lower()] = value
        rebuilt.context["timestamp"] = timestamp
        to_sign = signer.string_to_sign(rebuilt, signer.canonical_request(rebuilt))
        signatures.append(signer.signature(to_sign, rebuilt))
    return signatures
