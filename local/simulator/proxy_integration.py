"""API Gateway's Lambda proxy integration (REST API, payload format 1.0): the event for a request, and its response.

Pure: no socket, no clock, no thread. Names and nulls are API Gateway's, so that `app.py` cannot tell the difference.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from chalice.app import Chalice, IAMAuthorizer

from local.simulator.sigv4 import Caller, SignedRequest

Event = dict[str, Any]

MAX_RESPONSE_CHARACTERS = 10 * 1024 * 1024

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
_FRAMING = _HOP_BY_HOP | {"content-length", "date", "server"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_ANONYMOUS = MappingProxyType(
    {
        **dict.fromkeys(
            ("accessKey", "accountId", "caller", "user", "userArn", "principalOrgId", "apiKey", "apiKeyId")
        ),
        **dict.fromkeys(("cognitoIdentityId", "cognitoIdentityPoolId")),
        **dict.fromkeys(("cognitoAuthenticationType", "cognitoAuthenticationProvider")),
    }
)


class MalformedProxyResponseError(Exception):
    """What the app returned is not a valid Lambda proxy response. The text names the member; it holds no value."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route that matches a path.

    pattern: e.g. `/admin/keys/{name}`
    parameters: the path parameters by name, still percent-encoded
    requires_iam: by method, whether the route has an IAM authorizer
    """

    pattern: str
    parameters: Mapping[str, str]
    requires_iam: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """A request, and what the gateway itself knows of it.

    signed: method, target, headers and body; the signature is not verified yet
    source_ip: the peer's address
    protocol: e.g. `HTTP/1.1`
    request_id: a UUID
    received_at: seconds since 1970
    stage: the API's stage
    """

    signed: SignedRequest
    source_ip: str
    protocol: str
    request_id: str
    received_at: float
    stage: str


@dataclass(frozen=True, slots=True)
class ProxyResponse:
    """The response for the client. headers: in order, repeats kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Routes:
    """The routes of one Chalice app, and its binary media types.

    Raises ValueError for a route with an authorizer or API key that cannot be checked on one machine: it would be open
    here and closed on AWS.
    """

    def __init__(self, app: Chalice) -> None:
        self.binary_types: frozenset[str] = frozenset(name.lower() for name in app.api.binary_types)
        self._patterns = [
            (pattern, pattern.split("/"), _iam_by_method(entries)) for pattern, entries in app.routes.items()
        ]

    def match(self, path: str) -> Route | None:
        """Return the route for a path, or None. In each segment a literal wins over a {name}; a final slash is ignored."""
        segments = (path[:-1] if len(path) > 1 and path.endswith("/") else path).split("/")
        matching = [found for found in self._patterns if _matches(found[1], segments)]
        if not matching:
            return None
        pattern, parts, requires_iam = min(matching, key=lambda found: [_is_parameter(part) for part in found[1]])
        parameters = {part[1:-1]: value for part, value in zip(parts, segments, strict=True) if _is_parameter(part)}
        return Route(pattern, parameters, requires_iam)


def _iam_by_method(entries: Mapping[str, Any]) -> dict[str, bool]:
    requires_iam = {}
    for method, entry in entries.items():
        # SECURITY: a route that cannot be checked is not served (test_a_route_that_cannot_be_guarded_is_not_served).
        if entry.api_key_required or not isinstance(entry.authorizer, IAMAuthorizer | None):
            raise ValueError(f"{method} {entry.uri_pattern}: only IAM authorizers can be checked on one machine")
        requires_iam[method] = entry.authorizer is not None
    return requires_iam


def _is_parameter(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")


def _matches(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """Return whether a path matches a pattern. An empty segment matches no {name}, as at API Gateway."""
    return len(parts) == len(segments) and all(
        (segment != "" if _is_parameter(part) else part == segment)
        for part, segment in zip(parts, segments, strict=True)
    )


def make_event(received: GatewayRequest, route: Route, caller: Caller | None, binary_types: frozenset[str]) -> Event:
    """Return the event for a request. caller: who signed it, on a route with an IAM authorizer; None: a null identity."""
    request = received.signed
    path, _, raw_query = request.target.partition("?")
    headers = _headers(received, hide_authorization=caller is not None)
    query = _group(parse_qsl(raw_query, keep_blank_values=True))
    content_type = headers.get("content-type", ("", [""]))[1][-1]
    body, encoded = _body(request.body, content_type, binary_types)
    return {
        "resource": route.pattern,
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.values()},
        "multiValueHeaders": dict(headers.values()),
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(route.parameters) or None,
        "stageVariables": None,
        "requestContext": _request_context(received, route, caller),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _headers(received: GatewayRequest, *, hide_authorization: bool) -> dict[str, tuple[str, list[str]]]:
    """Return, by lower-case name, the name as first spelled and all values; API Gateway's own headers replace a client's."""
    headers: dict[str, tuple[str, list[str]]] = {}
    for name, value in received.signed.headers:
        lower = name.lower()
        # SECURITY: a client cannot choose its source address (test_forwarding_headers_are_replaced).
        if lower in _HOP_BY_HOP or lower.startswith(("x-forwarded-", "x-amzn-")):
            continue
        # API Gateway does not pass signatures on; an app that logs its headers must not log one here either.
        if lower == "authorization" and (hide_authorization or value.startswith("AWS4-")):
            continue
        headers.setdefault(lower, (name, []))[1].append(value)
    headers["x-forwarded-for"] = ("X-Forwarded-For", [received.source_ip])
    headers["x-forwarded-proto"] = ("X-Forwarded-Proto", ["http"])
    return headers


def _group(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _body(body: bytes, content_type: str, binary_types: frozenset[str]) -> tuple[str | None, bool]:
    if not body:
        return None, False
    media_type = content_type.partition(";")[0].strip().lower()
    wildcards = {"*/*", media_type.partition("/")[0] + "/*"}
    if media_type in binary_types or wildcards & binary_types:
        return base64.b64encode(body).decode("ascii"), True
    # Bytes that are not UTF-8 become U+FFFD, as behind API Gateway.
    return body.decode("utf-8", "replace"), False


def _request_context(received: GatewayRequest, route: Route, caller: Caller | None) -> Event:
    path = received.signed.target.partition("?")[0]
    at = datetime.fromtimestamp(received.received_at, UTC)
    return {
        "accountId": "000000000000",
        "apiId": "local",
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "extendedRequestId": received.request_id,
        "httpMethod": received.signed.method,
        "identity": _identity(received, caller),
        "path": f"/{received.stage}{path}",
        "protocol": received.protocol,
        "requestId": received.request_id,
        "requestTime": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(received.received_at * 1000),
        "resourceId": "local",
        "resourcePath": route.pattern,
        "stage": received.stage,
    }


def _identity(received: GatewayRequest, caller: Caller | None) -> Event:
    user_agents = [value for name, value in received.signed.headers if name.lower() == "user-agent"]
    identity: Event = {
        **_ANONYMOUS,
        "sourceIp": received.source_ip,
        "userAgent": user_agents[-1] if user_agents else None,
    }
    # SECURITY: the caller is taken from the verified signature alone (test_a_client_cannot_name_itself).
    if caller is not None:
        identity |= {"accessKey": caller.access_key_id, "accountId": caller.account, "userArn": caller.arn}
        identity |= {"caller": caller.user_id, "user": caller.user_id}
    return identity


def parse_response(returned: object) -> ProxyResponse:
    """Return the response that an app returned. Raises MalformedProxyResponseError: API Gateway would send a 502."""
    if not isinstance(returned, Mapping):
        raise MalformedProxyResponseError("not an object")
    status = returned.get("statusCode")
    if isinstance(status, bool) or not re.fullmatch(r"[2-5][0-9]{2}", str(status), re.ASCII):
        raise MalformedProxyResponseError("statusCode")
    headers = _response_headers(returned)
    if all(name.lower() != "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return ProxyResponse(int(str(status)), tuple(headers), _response_body(returned))


def _response_headers(returned: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return `headers` and `multiValueHeaders` merged. A value that is in both is sent once."""
    single, multi = ({} if returned.get(form) is None else returned[form] for form in ("headers", "multiValueHeaders"))
    if not isinstance(single, Mapping) or not isinstance(multi, Mapping):
        raise MalformedProxyResponseError("headers")
    headers: list[tuple[str, str]] = []
    for name, values in multi.items():
        if not isinstance(values, list):
            raise MalformedProxyResponseError("multiValueHeaders")
        headers += [_response_header(name, value) for value in values]
    seen = {(name.lower(), value) for name, value in headers}
    more = [_response_header(name, value) for name, value in single.items()]
    headers += [(name, value) for name, value in more if (name.lower(), value) not in seen]
    return [(name, value) for name, value in headers if name.lower() not in _FRAMING]


def _response_header(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not isinstance(value, str | int | float):
        raise MalformedProxyResponseError("headers")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # SECURITY: a line break in a value would start another header (test_a_header_with_a_line_break_is_a_502).
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
        raise MalformedProxyResponseError("headers")
    return name, text


def _response_body(returned: Mapping[Any, Any]) -> bytes:
    body, encoded = returned.get("body"), returned.get("isBase64Encoded", False)
    if not isinstance(body, str | None) or not isinstance(encoded, bool):
        raise MalformedProxyResponseError("body")
    text = body or ""
    if len(text) > MAX_RESPONSE_CHARACTERS:
        raise MalformedProxyResponseError("body")
    try:
        return base64.b64decode(text, validate=True) if encoded else text.encode()
    except (binascii.Error, ValueError):
        raise MalformedProxyResponseError("body") from None
