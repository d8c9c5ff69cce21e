"""The Lambda@Edge origin-request event for a viewer's HTTP request, and the limits that CloudFront checks first."""

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from chalicelib.edge.door import Origin, Request
from chalicelib.edge.headers import Headers
from chalicelib.models.body import CallBody

Event = dict[str, Any]

DISTRIBUTION_ID: Final = "ELOCAL"
DISTRIBUTION_NAME: Final = "local.simulator.cloudfront.net"
VIA: Final = f"{DISTRIBUTION_NAME} (CloudFront)"
READ_TIMEOUT: Final = 120  # seconds; what OriginReadTimeout of the real distribution is by default
MAX_HEAD: Final = 20_480  # bytes: request line, headers and query together
MAX_URL: Final = 8_192  # bytes
_VERSIONS: Final = frozenset({HttpVersion10, HttpVersion11})  # aiohttp's parser accepts others, too
METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"})
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
# SECURITY: what follows a head whose length was taken off would be the origin's next request on the connection
# (test_a_connection_option_leaves_the_length).
_NO_OPTIONS: Final = HOP_BY_HOP | {"content-length"}
# Besides hop-by-hop headers: those that CloudFront sets itself or removes from a viewer's request.
_REMOVED: Final = HOP_BY_HOP | {"host", "expect", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"}
_REMOVED_PREFIXES: Final = ("x-amz-cf-", "x-edge-")
_OWN_ORIGIN: Final = Origin("origin.invalid", "https", "origin.invalid", 443)
"""The distribution's own; it is never called, as the function chooses another or generates a response."""
# '#' would end the path at the origin although the function saw more of it, so it is rejected.
_TARGET: Final = re.compile(r"/[!-\"$-~]*")


def request_error(request: web.BaseRequest) -> str | None:
    """Return the name (in `cloudfront_errors.ERRORS`) of the error that this request gets before any function, or None.

    The target must be a path of visible ASCII without '#': only that can be sent on unchanged.
    """
    target = request.raw_path
    # The line has two spaces, "HTTP/1.1" and a line end; each header a colon, a space and a line end.
    headers = request.raw_headers
    head = len(request.method) + len(target) + 12 + sum(map(len, chain.from_iterable(headers))) + 4 * len(headers)
    if head > MAX_HEAD or len(target) > MAX_URL:
        return "too_large"
    if request.version not in _VERSIONS:
        return "malformed"
    if not _TARGET.fullmatch(target):  # SECURITY: test_ambiguous_target_is_refused
        return "target"
    return _unsupported(request)


def _unsupported(request: web.BaseRequest) -> str | None:
    headers = request.headers
    if request.method not in METHODS:
        return "method"
    if hdrs.UPGRADE in headers and any("websocket" in one.lower() for one in headers.getall(hdrs.UPGRADE)):
        return "upgrade"
    if request.body_exists and request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return "body_not_allowed"
    # A transfer coding besides chunked (RFC 9112, section 7) would be lost, as Transfer-Encoding is hop-by-hop.
    if hdrs.TRANSFER_ENCODING in headers and headers[hdrs.TRANSFER_ENCODING].strip().lower() != "chunked":
        return "coding"
    if hdrs.EXPECT in headers and {one.lower() for one in headers.getall(hdrs.EXPECT)} != {"100-continue"}:
        return "expectation"
    return None


def received(request: web.BaseRequest) -> Request:
    """Return what reached the edge of a request without a `request_error`, without its body.

    Path and query are exactly as sent; the headers are those of the policy AllViewerExceptHostHeader.
    """
    path, _, query = request.raw_path.partition("?")
    # The peer of the socket, never a header: grants are bound to source addresses.
    client_ip = request.remote or "unknown"  # SECURITY: test_claimed_addresses_are_ignored
    return Request(request.method, path, query, _headers(request, client_ip), client_ip)


def make_event(request: Request, request_id: str, read_timeout: int = READ_TIMEOUT) -> Event:
    """Return the origin-request event of a request: a new dict, which the function may change.

    read_timeout: seconds, of the distribution's own origin.
    """
    config = {
        "distributionDomainName": DISTRIBUTION_NAME,
        "distributionId": DISTRIBUTION_ID,
        "eventType": "origin-request",
        "requestId": request_id,
    }
    cf_request = {
        "clientIp": request.source_ip,
        "headers": request.headers.to_event(),
        "method": request.method,
        "querystring": request.query,
        "uri": request.path,
        "origin": event_origin(_OWN_ORIGIN, read_timeout),
        **event_body(request.body),
    }
    return {"Records": [{"cf": {"config": config, "request": cf_request}}]}


def event_body(body: CallBody) -> dict[str, Any]:
    """Return the event's member `body` in a dict, which is empty where the function is shown none."""
    if body.received is None:
        return {}
    data = base64.b64encode(body.received).decode()
    shown = {"action": "read-only", "data": data, "encoding": "base64", "inputTruncated": body.truncated}
    return {"body": {**shown, "outline": body.fault} if body.is_outline else shown}


def connection_options(values: Iterable[str]) -> frozenset[str]:
    """Return the header names, in lower case, that `Connection` headers declare to be hop-by-hop."""
    return frozenset(name.strip().lower() for value in values for name in value.split(","))


def text(raw: bytes) -> str:
    """Decode a header as UTF-8, or else as Latin-1 (an event is JSON, and aiohttp would drop those bytes)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _headers(request: web.BaseRequest, client_ip: str) -> Headers:
    raw = request.raw_headers  # `headers` has the well-known names in aiohttp's spelling
    options: frozenset[str] = frozenset()
    if hdrs.CONNECTION in request.headers:
        options = connection_options(request.headers.getall(hdrs.CONNECTION)) - _NO_OPTIONS
    places, names, sent = _passed(tuple([name for name, _ in raw]), options)
    values = [text(raw[place][1]) for place in places]
    major, minor = request.version
    return Headers(names, sent, [*values, f"{major}.{minor} {VIA}", client_ip, "origin.invalid"])


@lru_cache(maxsize=256)
def _passed(
    raw_names: tuple[bytes, ...], hop_by_hop: frozenset[str]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the places of the headers that CloudFront passes to the origin, those of one name together, and the names of all.

    A client sends the same names with every call. CloudFront's own three come last.
    """
    parsed = [_parse_name(one) for one in raw_names]
    passed: dict[str, list[int]] = {}
    for place, (_, name, is_passed) in enumerate(parsed):
        if is_passed and name not in hop_by_hop:
            passed.setdefault(name, []).append(place)
    places = tuple(place for ones in passed.values() for place in ones)
    names, sent = tuple(parsed[place][1] for place in places), tuple(parsed[place][0] for place in places)
    return places, (*names, "via", "x-forwarded-for", "host"), (*sent, "Via", "X-Forwarded-For", "Host")


@lru_cache(maxsize=1024)
def _parse_name(raw_key: bytes) -> tuple[str, str, bool]:
    """Return a header's name as sent, its name in lower case, and whether CloudFront passes it to the origin."""
    key = raw_key.decode("latin-1")
    name = key.lower()
    return key, name, name not in _REMOVED and not name.startswith(_REMOVED_PREFIXES)


def event_origin(chosen: Origin, read_timeout: int) -> dict[str, Any]:
    """Return an origin in the event's form. read_timeout: seconds, of the distribution's own origin."""
    custom: dict[str, Any] = {
        "customHeaders": {},
        "domainName": chosen.domain,
        "keepaliveTimeout": 5,
        "path": "",
        "port": chosen.port,
        "protocol": chosen.protocol,
        "readTimeout": read_timeout,
        "sslProtocols": ["TLSv1.2"],
    }
    return {"custom": custom}
