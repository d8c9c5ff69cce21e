"""What API Gateway makes of a request and of an answer: REST API, Lambda proxy integration, payload format 1.0.

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

MAX_ANSWER_CHARACTERS = 10 * 1024 * 1024

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
_FRAMING = _HOP_BY_HOP | {"content-length", "date", "server"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_NO_CALLER = MappingProxyType(
    {
        **dict.fromkeys(
            ("accessKey", "accountId", "caller", "user", "userArn", "principalOrgId", "apiKey", "apiKeyId")
        ),
        **dict.fromkeys(("cognitoIdentityId", "cognitoIdentityPoolId")),
        **dict.fromkeys(("cognitoAuthenticationType", "cognitoAuthenticationProvider")),
    }
)


class MalformedAnswer(Exception):  # noqa: N818  API Gateway's own words: "malformed Lambda proxy response"
    """What the app returned is no Lambda proxy answer. The text says which part; it holds no value."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route pattern that a path fits. parameters: by name, as they stand in the path. signed: by method, is IAM asked for."""

    pattern: str
    parameters: Mapping[str, str]
    signed: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request and what the gateway itself knows of it. source_ip: the peer's. at: seconds since 1970."""

    request: SignedRequest
    source_ip: str
    protocol: str
    request_id: str
    at: float
    stage: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. headers: in order, repeats kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Routes:
    """The routes of one Chalice app, and its binary types.

    Raises ValueError for a route with an authorizer or API key that cannot be checked on one machine: such a route would
    be open here and closed on AWS.
    """

    def __init__(self, app: Chalice) -> None:
        self.binary_types: frozenset[str] = frozenset(name.lower() for name in app.api.binary_types)
        self._patterns = [(pattern, pattern.split("/"), _signed(entries)) for pattern, entries in app.routes.items()]

    def match(self, path: str) -> Route | None:
        """The route for a path, or None. Segment by segment a literal wins over a {name}; a last slash is ignored."""
        segments = (path[:-1] if len(path) > 1 and path.endswith("/") else path).split("/")
        fitting = [found for found in self._patterns if _fits(found[1], segments)]
        if not fitting:
            return None
        pattern, parts, signed = min(fitting, key=lambda found: [_is_name(part) for part in found[1]])
        parameters = {part[1:-1]: value for part, value in zip(parts, segments, strict=True) if _is_name(part)}
        return Route(pattern, parameters, signed)


def _signed(entries: Mapping[str, Any]) -> dict[str, bool]:
    signed = {}
    for method, entry in entries.items():
        # SECURITY: what cannot be checked is not served (test_a_route_that_cannot_be_guarded_is_not_served).
        if entry.api_key_required or not isinstance(entry.authorizer, IAMAuthorizer | None):
            raise ValueError(f"{method} {entry.uri_pattern}: only IAM authorizers can be checked on one machine")
        signed[method] = entry.authorizer is not None
    return signed


def _is_name(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")


def _fits(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """An empty segment fits no {name}, as at API Gateway."""
    return len(parts) == len(segments) and all(
        (segment != "" if _is_name(part) else part == segment) for part, segment in zip(parts, segments, strict=True)
    )


def build_event(arrived: Arrived, route: Route, caller: Caller | None, binary_types: frozenset[str]) -> Event:
    """The event for a request. caller: who signed it, if the route asks for that; None leaves the identity's nulls."""
    request = arrived.request
    path, _, raw_query = request.target.partition("?")
    headers = _headers(arrived, hide_authorization=caller is not None)
    query = _grouped(parse_qsl(raw_query, keep_blank_values=True))
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
        "requestContext": _request_context(arrived, route, caller),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _headers(arrived: Arrived, *, hide_authorization: bool) -> dict[str, tuple[str, list[str]]]:
    """By lower-case name: the name as first written, and all values. API Gateway's own replace a client's of that name."""
    headers: dict[str, tuple[str, list[str]]] = {}
    for name, value in arrived.request.headers:
        lower = name.lower()
        # SECURITY: a client does not say where it comes from (test_a_client_s_forwarding_headers_do_not_reach_the_app).
        if lower in _HOP_BY_HOP or lower.startswith(("x-forwarded-", "x-amzn-")):
            continue
        # API Gateway keeps signatures to itself; an app that logs its headers must not log one here either.
        if lower == "authorization" and (hide_authorization or value.startswith("AWS4-")):
            continue
        headers.setdefault(lower, (name, []))[1].append(value)
    headers["x-forwarded-for"] = ("X-Forwarded-For", [arrived.source_ip])
    headers["x-forwarded-proto"] = ("X-Forwarded-Proto", ["http"])
    return headers


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
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
    # What is not UTF-8 arrives mangled, each bad byte as U+FFFD, as it does behind API Gateway.
    return body.decode("utf-8", "replace"), False


def _request_context(arrived: Arrived, route: Route, caller: Caller | None) -> Event:
    path = arrived.request.target.partition("?")[0]
    at = datetime.fromtimestamp(arrived.at, UTC)
    return {
        "accountId": "000000000000",
        "apiId": "local",
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "extendedRequestId": arrived.request_id,
        "httpMethod": arrived.request.method,
        "identity": _identity(arrived, caller),
        "path": f"/{arrived.stage}{path}",
        "protocol": arrived.protocol,
        "requestId": arrived.request_id,
        "requestTime": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(arrived.at * 1000),
        "resourceId": "local",
        "resourcePath": route.pattern,
        "stage": arrived.stage,
    }


def _identity(arrived: Arrived, caller: Caller | None) -> Event:
    agents = [value for name, value in arrived.request.headers if name.lower() == "user-agent"]
    identity: Event = {**_NO_CALLER, "sourceIp": arrived.source_ip, "userAgent": agents[-1] if agents else None}
    # SECURITY: who calls comes from the verified signature alone (test_a_client_cannot_name_itself).
    if caller is not None:
        identity |= {"accessKey": caller.access_key_id, "accountId": caller.account, "userArn": caller.arn}
        identity |= {"caller": caller.user_id, "user": caller.user_id}
    return identity


def read_answer(returned: object) -> Answer:
    """The answer in what an app returned. Raises MalformedAnswer: API Gateway would turn it into a 502."""
    if not isinstance(returned, Mapping):
        raise MalformedAnswer("not an object")
    status = returned.get("statusCode")
    if isinstance(status, bool) or not re.fullmatch(r"[2-5][0-9]{2}", str(status), re.ASCII):
        raise MalformedAnswer("statusCode")
    headers = _answer_headers(returned)
    if all(name.lower() != "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Answer(int(str(status)), tuple(headers), _answer_body(returned))


def _answer_headers(returned: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Both forms merged. A value that stands in both is sent once."""
    single, multi = ({} if returned.get(form) is None else returned[form] for form in ("headers", "multiValueHeaders"))
    if not isinstance(single, Mapping) or not isinstance(multi, Mapping):
        raise MalformedAnswer("headers")
    headers: list[tuple[str, str]] = []
    for name, values in multi.items():
        if not isinstance(values, list):
            raise MalformedAnswer("multiValueHeaders")
        headers += [_answer_header(name, value) for value in values]
    seen = {(name.lower(), value) for name, value in headers}
    more = [_answer_header(name, value) for name, value in single.items()]
    headers += [(name, value) for name, value in more if (name.lower(), value) not in seen]
    return [(name, value) for name, value in headers if name.lower() not in _FRAMING]


def _answer_header(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not isinstance(value, str | int | float):
        raise MalformedAnswer("headers")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # SECURITY: a line break in a value would be a header of its own (test_a_header_with_a_line_break_is_a_502).
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
        raise MalformedAnswer("headers")
    return name, text


def _answer_body(returned: Mapping[Any, Any]) -> bytes:
    body, encoded = returned.get("body"), returned.get("isBase64Encoded", False)
    if not isinstance(body, str | None) or not isinstance(encoded, bool):
        raise MalformedAnswer("body")
    text = body or ""
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise MalformedAnswer("body")
    try:
        return base64.b64decode(text, validate=True) if encoded else text.encode()
    except (binascii.Error, ValueError):
        raise MalformedAnswer("body") from None
