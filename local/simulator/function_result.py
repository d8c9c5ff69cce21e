"""The edge function's result, checked as CloudFront checks it: a request for an origin, or a generated response."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from chalicelib.edge.door import Answer, OnItsWay, Origin
from chalicelib.edge.headers import EventHeaders
from local.simulator.origin import MAX_READ_TIMEOUT, InvalidOriginError, parse_origin
from local.simulator.origin_request_event import MAX_HEAD, MAX_URL, event_origin

HeaderList = list[tuple[str, str]]

MAX_GENERATED: Final = 1_048_576  # bytes, headers and body
_OWN_HEADERS: Final = 1_024  # bytes for CloudFront's own headers, beside the MAX_HEAD of the viewer
_MAX_CUSTOM, _MAX_CUSTOM_VALUE, _MAX_CUSTOM_SIZE = 30, 1_783, 10_240  # headers; characters of one value; of all of them
# Read-only for an origin-request function: a change or removal is a 502 at CloudFront.
_READ_ONLY: Final = frozenset(
    {"accept-encoding", "cdn-loop", "content-length", "transfer-encoding", "via"}
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
# No function may add these; it may remove a viewer's.
_DISALLOWED: Final = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"trailer", "upgrade", "x-accel-buffering", "x-accel-charset", "x-accel-limit-rate", "x-accel-redirect"}
    | {"x-amzn-auth", "x-amzn-cf-billing", "x-amzn-cf-id", "x-amzn-cf-xff", "x-amzn-errortype", "x-amzn-fle-profile"}
    | {"x-amzn-header-count", "x-amzn-header-order", "x-amzn-lambda-integration-tag", "x-amzn-requestid"}
    | {"x-cache", "x-forwarded-proto", "x-real-ip"}
)
_DISALLOWED_PREFIXES: Final = ("x-amz-cf-", "x-edge-")
_PROTECTED: Final = _READ_ONLY | _DISALLOWED
# Further names that an origin custom header cannot have.
_NEVER_CUSTOM: Final = frozenset(
    {"cache-control", "cookie", "host", "if-match", "max-forwards", "pragma", "range", "request-range", "te"}
)
_ALLOWED_IN_RESPONSES: Final = frozenset(
    {"accept-encoding", "cdn-loop", "content-length"}  # the length is computed here, whatever the function says
    | {"if-modified-since", "if-none-match", "if-range", "if-unmodified-since"}
)
_NAMES: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]*")  # lower case, so that a name has one spelling
_MAX_NAME: Final = 256  # characters
# Half of a surrogate pair cannot be encoded.
_FORBIDDEN_IN_VALUES: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_URI: Final = re.compile(r"/[!-\"$->@-~]*")
_QUERY: Final = re.compile(r"[!-\"$-~]*")
_STATUS: Final = re.compile(r"[2-5][0-9][0-9]")


class MalformedResultError(Exception):
    """CloudFront would reject this result. The text names the member, never a value."""


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A request for an origin. address: its `protocol://host:port`. target: path and query, sent as they are. read_timeout: seconds.

    to_broker: by cache behaviour, not by a function.
    """

    address: str
    target: str
    headers: HeaderList
    read_timeout: float
    to_broker: bool = False

    def with_length(self, length: str) -> OriginRequest:
        """Return the same for a body of another length, if a header says it. length: in digits."""
        headers = [(name, length if name.lower() == "content-length" else value) for name, value in self.headers]
        return replace(self, headers=headers)


@dataclass(frozen=True, slots=True)
class GeneratedResponse:
    """A response that the function generated itself."""

    status: int
    reason: str
    headers: HeaderList
    body: bytes


def protected_headers(headers: EventHeaders) -> dict[str, list[str]]:
    """Return the values of the headers that a function must not add or change, to compare them after the invocation."""
    return {name: [entry["value"] for entry in headers[name]] for name in _protected_among(tuple(headers))}


@lru_cache(maxsize=256)
def _protected_among(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that a function must not add or change; a client sends the same names with every call."""
    return tuple(filter(_is_protected, names))


@lru_cache(maxsize=1024)
def _is_protected(name: str) -> bool:
    return name in _PROTECTED or name.startswith(_DISALLOWED_PREFIXES)


def _unchanged(before: dict[str, list[str]], after: dict[str, list[str]]) -> bool:
    if before == after:
        return True
    kept = all(before.get(name) == values for name, values in after.items())
    return kept and all(name in after for name in before if name in _READ_ONLY)


def parse_result(
    result: object, method: str, protected: dict[str, list[str]], longest: int = MAX_READ_TIMEOUT
) -> OriginRequest | GeneratedResponse:
    """Return a function's result, parsed. method: the viewer's. protected: `protected_headers` of the event.

    longest: seconds that an origin may be silent, at most.
    Raises MalformedResultError: CloudFront would respond with a 502.
    """
    if not isinstance(result, Mapping):
        raise MalformedResultError("result")
    return _generated(result) if "status" in result else _origin_request(result, method, protected, longest)


def _origin_request(
    result: Mapping[str, Any], method: str, protected: dict[str, list[str]], longest: int
) -> OriginRequest:
    if result.get("method") != method:
        raise MalformedResultError("method")
    body = result.get("body")
    if isinstance(body, Mapping) and body.get("action") == "replace":
        raise MalformedResultError(
            "body"
        )  # the viewer's own body is streamed; it would be worse to ignore the function's
    try:
        origin = parse_origin(result.get("origin"), longest)
    except InvalidOriginError as error:
        raise MalformedResultError(str(error)) from None
    headers = header_list(result.get("headers"), "headers")
    # SECURITY: the headers that frame the body stay the viewer's (test_protected_headers_cannot_change).
    if not _unchanged(protected, protected_headers(result["headers"])):
        raise MalformedResultError("headers: a read-only or disallowed one")
    host = result["headers"].get("host", ())
    if len(host) != 1 or host[0]["value"].lower() not in origin.hosts:
        raise MalformedResultError("headers.host")
    headers += _custom_headers(result["origin"]["custom"].get("customHeaders"), result["headers"])
    target = _target(result.get("uri"), result.get("querystring"))
    _check_size(method, target, headers)
    return OriginRequest(origin.address, origin.path + target, headers, origin.read_timeout)


def _check_size(method: str, target: str, headers: HeaderList) -> None:
    if len(method) + len(target) + _size(headers) > MAX_HEAD + _OWN_HEADERS:
        raise MalformedResultError("headers: too large together")


def direct_result(
    result: OnItsWay | Answer, method: str, read_timeout: int, longest: int
) -> OriginRequest | GeneratedResponse:
    """Return what `parse_result` would of the same decision in the event's form, which is not made.

    method: the viewer's. read_timeout: seconds, of the distribution's own origin. longest: as there.
    What is not looked at here cannot be otherwise: names were checked, and no header that frames the body was changed.
    """
    if isinstance(result, Answer):
        answered = {name: [{"key": name, "value": value}] for name, value in result.headers.items()}
        return _generated({"status": str(result.status), "headers": answered, "body": result.body})
    address, seconds = _place(result.origin, read_timeout, longest)
    names, sent, texts = result.headers
    # SECURITY: as for a function (test_both_doors_refuse_a_key_in_a_disallowed_header).
    if _is_protected(names[-1]) or not _are_names(names):
        raise MalformedResultError("headers: a read-only or disallowed one")
    values = "".join(texts)
    if not values.isprintable() and _FORBIDDEN_IN_VALUES.search(values):
        raise MalformedResultError("headers")
    target, headers = _target(result.path, result.query), list(zip(sent, texts, strict=True))
    _check_size(method, target, headers)
    return OriginRequest(address, target, headers, seconds)


@lru_cache(maxsize=256)
def _are_names(names: tuple[str, ...]) -> bool:
    return all(one and len(one) <= _MAX_NAME and _NAMES.fullmatch(one) for one in names)


@lru_cache(maxsize=256)
def _place(chosen: Origin, read_timeout: int, longest: int) -> tuple[str, float]:
    """Return an origin's address and the seconds that it may be silent; raises MalformedResultError."""
    try:
        found = parse_origin(event_origin(chosen, read_timeout), longest)
    except InvalidOriginError as error:
        raise MalformedResultError(str(error)) from None
    if chosen.host.lower() not in found.hosts:
        raise MalformedResultError("headers.host")
    return found.address, found.read_timeout


def _custom_headers(custom: object, others: Mapping[str, Any]) -> HeaderList:
    member = "origin.custom.customHeaders"
    headers = header_list(custom, member)
    if not headers:
        return headers
    names = {name.lower() for name, _ in headers}
    if not names.isdisjoint(others):
        raise MalformedResultError(member)
    if any(_is_protected(name) or name in _NEVER_CUSTOM or name.startswith("x-amz-") for name in names):
        raise MalformedResultError(f"{member}: one that cannot be added")
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > _MAX_CUSTOM or size > _MAX_CUSTOM_SIZE or any(len(one[1]) > _MAX_CUSTOM_VALUE for one in headers):
        raise MalformedResultError(f"{member}: too many or too large")
    return headers


def _target(uri: object, query: object) -> str:
    if not (isinstance(uri, str) and _URI.fullmatch(uri)):
        raise MalformedResultError("uri")
    if not (isinstance(query, str) and _QUERY.fullmatch(query)):
        raise MalformedResultError("querystring")
    target = f"{uri}?{query}" if query else uri
    if len(target) >= MAX_URL:
        raise MalformedResultError("uri: too long with its query")
    return target


def _size(headers: HeaderList) -> int:
    """Return the bytes that headers take, each with a colon, a space and a line end."""
    return len("".join([name + value for name, value in headers]).encode()) + 4 * len(headers)


def header_list(headers: object, member: str) -> HeaderList:
    """Return headers in the event's form as pairs, in order; `key`, where given, is the name to send."""
    if headers == {}:
        return []
    # Each check covers all headers at once, since this runs for every call.
    if not isinstance(headers, Mapping) or set(map(type, headers.values())) != {list}:
        raise MalformedResultError(member)
    try:
        pairs = [(entry.get("key", name), entry["value"]) for name, found in headers.items() for entry in found]
        is_named = all(headers) and bool(_NAMES.fullmatch("".join(headers))) and max(map(len, headers)) <= _MAX_NAME
        # SECURITY: a key that differs from the name would bypass every check by name (test_malformed_request_result).
        keys = "\n".join([key for key, _ in pairs])  # no name has a line end, so no matching key has one
        is_consistent = keys.lower() == "\n".join([name for name, found in headers.items() for _ in found])
        is_consistent = is_consistent and keys.isascii()  # the Kelvin sign's lower case is k
        values = "".join([value for _, value in pairs])
        is_text = values.isprintable() or not _FORBIDDEN_IN_VALUES.search(
            values
        )  # the first check is quick and stricter
    except (AttributeError, KeyError, TypeError):
        raise MalformedResultError(member) from None  # a member has the wrong type
    if not (is_named and is_consistent and is_text):
        raise MalformedResultError(member)
    return pairs


def _generated(result: Mapping[str, Any]) -> GeneratedResponse:
    status, reason = result["status"], result.get("statusDescription", "")
    if not (isinstance(status, str) and _STATUS.fullmatch(status)):
        raise MalformedResultError("status")
    if not (isinstance(reason, str) and not _FORBIDDEN_IN_VALUES.search(reason)):
        raise MalformedResultError("statusDescription")
    headers = header_list(result.get("headers", {}), "headers")
    for name, _ in headers:
        if _is_protected(name.lower()) and name.lower() not in _ALLOWED_IN_RESPONSES:
            raise MalformedResultError("headers: a read-only or disallowed one")
    body = _body(result)
    if len(body) + _size(headers) > MAX_GENERATED:
        raise MalformedResultError("body: larger than 1 MB")
    headers = [pair for pair in headers if pair[0].lower() != "content-length"]
    if status not in {"204", "304"}:
        headers.append(("Content-Length", str(len(body))))
    return GeneratedResponse(int(status), reason, headers, body)


def _body(result: Mapping[str, Any]) -> bytes:
    body, encoding = result.get("body", ""), result.get("bodyEncoding", "text")
    if not isinstance(body, str) or encoding not in ("text", "base64"):  # a tuple, since it may have any type
        raise MalformedResultError("body")
    try:
        return body.encode() if encoding == "text" else base64.b64decode(body, validate=True)
    except (UnicodeEncodeError, ValueError) as error:
        raise MalformedResultError("body") from error
