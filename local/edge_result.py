"""What the edge function returned, checked as CloudFront checks it: a request for an origin, or a response of its own."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from yarl import URL

from local.origin_event import READ_TIMEOUT, Headers

HeaderList = list[tuple[str, str]]

MAX_GENERATED: Final = 1_048_576  # bytes, headers and body
# Read-only for an origin-request function: a change or removal is a 502 at CloudFront.
_READ_ONLY: Final = frozenset(
    {"accept-encoding", "cdn-loop", "content-length", "transfer-encoding", "via"}
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
# What no function may add; to take a viewer's away is allowed.
_DISALLOWED: Final = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"trailer", "upgrade", "x-accel-buffering", "x-accel-charset", "x-accel-limit-rate", "x-amzn-auth"}
    | {"x-amzn-cf-billing", "x-amzn-cf-id", "x-amzn-cf-xff", "x-amzn-errortype", "x-amzn-fle-profile"}
    | {"x-amzn-header-count", "x-amzn-header-order", "x-amzn-lambda-integration-tag", "x-amzn-requestid"}
    | {"x-cache", "x-forwarded-proto", "x-real-ip"}
)
_DISALLOWED_PREFIXES: Final = ("x-amz-cf-", "x-edge-")
_FREE_IN_RESPONSES: Final = frozenset(
    {"accept-encoding", "cdn-loop", "content-length"}  # a length is counted here, whatever the function says
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}")  # lower case, so that a name has one spelling
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ORIGIN_PATH: Final = re.compile(r"(/[!-\"$->@-~]{0,254})?")
_URI: Final = re.compile(r"/[!-\"$->@-~]*")
_QUERY: Final = re.compile(r"[!-\"$-~]*")
_STATUS: Final = re.compile(r"[2-5][0-9][0-9]")


class MalformedResultError(Exception):
    """The function's result is not one that CloudFront would act on; the text names the member, never a value."""


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A request to send on: `url` is used as it is, `read_timeout` is in seconds."""

    url: URL
    headers: HeaderList
    read_timeout: float


@dataclass(frozen=True, slots=True)
class GeneratedResponse:
    """An answer that the function made itself."""

    status: int
    reason: str
    headers: HeaderList
    body: bytes


def fixed_headers(headers: Headers) -> dict[str, list[str]]:
    """The values of the headers that a function must not add or change; taken before the call and compared after."""
    return {name: [entry["value"] for entry in entries] for name, entries in headers.items() if _is_fixed(name.lower())}


def _is_fixed(name: str) -> bool:
    return name in _READ_ONLY or name in _DISALLOWED or name.startswith(_DISALLOWED_PREFIXES)


def _left_alone(before: dict[str, list[str]], after: dict[str, list[str]]) -> bool:
    kept = all(before.get(name) == values for name, values in after.items())
    return kept and all(name in after for name in before if name in _READ_ONLY)


def parse_result(result: object, method: str, fixed: dict[str, list[str]]) -> OriginRequest | GeneratedResponse:
    """What to do about a function's result, given the viewer's method and `fixed_headers` of the event.

    Raises MalformedResultError: CloudFront would answer 502.
    """
    if not isinstance(result, Mapping):
        raise MalformedResultError("result")
    return _generated(result) if "status" in result else _origin_request(result, method, fixed)


def _origin_request(result: Mapping[str, Any], method: str, fixed: dict[str, list[str]]) -> OriginRequest:
    if result.get("method") != method:
        raise MalformedResultError("method")
    body = result.get("body")
    if isinstance(body, Mapping) and body.get("action") == "replace":
        raise MalformedResultError("body")  # the viewer's own is streamed; to ignore the function's would be worse
    origin = result.get("origin")
    custom = origin.get("custom") if isinstance(origin, Mapping) else None
    if not isinstance(custom, Mapping):
        raise MalformedResultError("origin.custom")
    headers = _header_list(result.get("headers"), "headers")
    custom_headers = custom.get("customHeaders", {})
    own = _header_list(custom_headers, "origin.custom.customHeaders")
    # SECURITY: what frames the body stays the viewer's (test_a_change_of_a_fixed_header_is_refused_as_at_cloudfront).
    if not _left_alone(fixed, fixed_headers(result["headers"])) or fixed_headers(custom_headers):
        raise MalformedResultError("headers: a read-only or disallowed one")
    if len(result["headers"].get("host", ())) != 1:
        raise MalformedResultError("headers.host")
    if not custom_headers.keys().isdisjoint(result["headers"]):
        raise MalformedResultError("origin.custom.customHeaders")
    headers += own
    uri, query = result.get("uri"), result.get("querystring")
    if not (isinstance(uri, str) and _URI.fullmatch(uri)):
        raise MalformedResultError("uri")
    if not (isinstance(query, str) and _QUERY.fullmatch(query)):
        raise MalformedResultError("querystring")
    address = origin_address(custom)
    # encoded=True: not a byte of the path or query is quoted, unquoted or normalised.
    url = URL(f"{address}{uri}?{query}" if query else f"{address}{uri}", encoded=True)
    return OriginRequest(url, headers, _read_timeout(custom))


def origin_address(custom: Mapping[str, Any]) -> str:
    """`protocol://domainName:port` and the origin's path. Raises MalformedResultError."""
    parts = (custom.get("protocol"), custom.get("domainName"), custom.get("port"), custom.get("path"))
    protocol, domain, port, path = parts
    if not (isinstance(domain, str) and isinstance(path, str) and isinstance(port, int)):
        raise MalformedResultError("origin.custom")
    return _address(str(protocol), domain, port, path)


@lru_cache(maxsize=256)
def _address(protocol: str, domain: str, port: int, path: str) -> str:
    if protocol not in {"http", "https"}:
        raise MalformedResultError("origin.custom.protocol")
    if not _DOMAIN.fullmatch(domain):
        raise MalformedResultError("origin.custom.domainName")
    if not 1 <= port <= 65_535:
        raise MalformedResultError("origin.custom.port")
    if not _ORIGIN_PATH.fullmatch(path) or path.endswith("/"):
        raise MalformedResultError("origin.custom.path")
    return f"{protocol}://{domain}:{port}{path}"


def _read_timeout(custom: Mapping[str, Any]) -> float:
    seconds = custom.get("readTimeout", READ_TIMEOUT)
    if not isinstance(seconds, int | float) or not 0 < seconds <= READ_TIMEOUT:
        raise MalformedResultError("origin.custom.readTimeout")
    return float(seconds)


def _header_list(headers: object, member: str) -> HeaderList:
    """Headers in the event's form as pairs, in order, with `key` as the name to write where it is given."""
    if not isinstance(headers, Mapping):
        raise MalformedResultError(member)
    pairs: HeaderList = []
    for name, entries in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(entries, list):
            raise MalformedResultError(member)
        for entry in entries:
            key, value = (entry.get("key", name), entry.get("value")) if isinstance(entry, dict) else (None, None)
            # SECURITY: a key of another name would get past every check by name (test_a_malformed_request_is_refused_naming_the_member_only).
            if not isinstance(key, str) or key.lower() != name:
                raise MalformedResultError(member)
            if not isinstance(value, str) or not _VALUE.fullmatch(value):
                raise MalformedResultError(member)
            pairs.append((key, value))
    return pairs


def _generated(result: Mapping[str, Any]) -> GeneratedResponse:
    status, reason = result["status"], result.get("statusDescription", "")
    if not (isinstance(status, str) and _STATUS.fullmatch(status)):
        raise MalformedResultError("status")
    if not (isinstance(reason, str) and _VALUE.fullmatch(reason)):
        raise MalformedResultError("statusDescription")
    headers = _header_list(result.get("headers", {}), "headers")
    for name, _ in headers:
        if _is_fixed(name.lower()) and name.lower() not in _FREE_IN_RESPONSES:
            raise MalformedResultError("headers: a read-only or disallowed one")
    body = _body(result)
    if len(body) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_GENERATED:
        raise MalformedResultError("body: larger than 1 MB")
    headers = [pair for pair in headers if pair[0].lower() != "content-length"]
    if status not in {"204", "304"}:
        headers.append(("Content-Length", str(len(body))))
    return GeneratedResponse(int(status), reason, headers, body)


def _body(result: Mapping[str, Any]) -> bytes:
    body, encoding = result.get("body", ""), result.get("bodyEncoding", "text")
    if not isinstance(body, str) or encoding not in {"text", "base64"}:
        raise MalformedResultError("body")
    if encoding == "text":
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedResultError("body") from error
