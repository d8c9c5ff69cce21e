"""The Lambda@Edge origin-request event for a viewer's HTTP request, and the limits that CloudFront checks first."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

Event = dict[str, Any]
Headers = Mapping[str, list[dict[str, str]]]

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
# Besides hop-by-hop headers: those that CloudFront sets itself or removes from a viewer's request.
_REMOVED: Final = HOP_BY_HOP | {"host", "expect", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"}
_REMOVED_PREFIXES: Final = ("x-amz-cf-", "x-edge-")
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


def make_event(request: web.BaseRequest, request_id: str, read_timeout: int = READ_TIMEOUT) -> Event:
    """Return the origin-request event of a request without a `request_error`: a new dict, which the function may change.

    `uri` and `querystring` are exactly as sent; the headers are those of the policy AllViewerExceptHostHeader.
    read_timeout: seconds, of the distribution's own origin.
    """
    path, _, query = request.raw_path.partition("?")
    config = {
        "distributionDomainName": DISTRIBUTION_NAME,
        "distributionId": DISTRIBUTION_ID,
        "eventType": "origin-request",
        "requestId": request_id,
    }
    # The peer of the socket, never a header: grants are bound to source addresses.
    client_ip = request.remote or "unknown"  # SECURITY: test_claimed_addresses_are_ignored
    cf_request = {
        "clientIp": client_ip,
        "headers": _event_headers(request, client_ip),
        "method": request.method,
        "querystring": query,
        "uri": path,
        "origin": _default_origin(read_timeout),
    }
    return {"Records": [{"cf": {"config": config, "request": cf_request}}]}


def connection_options(values: Iterable[str]) -> frozenset[str]:
    """Return the header names, in lower case, that `Connection` headers declare to be hop-by-hop."""
    return frozenset(name.strip().lower() for value in values for name in value.split(","))


def text(raw: bytes) -> str:
    """Decode a header as UTF-8, or else as Latin-1 (an event is JSON, and aiohttp would drop those bytes)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _event_headers(request: web.BaseRequest, client_ip: str) -> dict[str, list[dict[str, str]]]:
    passed: dict[str, list[dict[str, str]]] = {}
    hop_by_hop: frozenset[str] = frozenset()
    if hdrs.CONNECTION in request.headers:
        hop_by_hop = connection_options(request.headers.getall(hdrs.CONNECTION))
    for raw_key, raw_value in request.raw_headers:  # `headers` has the well-known names in aiohttp's spelling
        key, name, is_passed = _parse_name(raw_key)
        if not is_passed or name in hop_by_hop:
            continue
        entry = {"key": key, "value": text(raw_value)}
        if name in passed:
            passed[name].append(entry)
        else:
            passed[name] = [entry]
    major, minor = request.version
    passed["via"] = [{"key": "Via", "value": f"{major}.{minor} {VIA}"}]
    passed["x-forwarded-for"] = [{"key": "X-Forwarded-For", "value": client_ip}]
    passed["host"] = [{"key": "Host", "value": "origin.invalid"}]
    return passed


@lru_cache(maxsize=1024)
def _parse_name(raw_key: bytes) -> tuple[str, str, bool]:
    """Return a header's name as sent, its name in lower case, and whether CloudFront passes it to the origin."""
    key = raw_key.decode("latin-1")
    name = key.lower()
    return key, name, name not in _REMOVED and not name.startswith(_REMOVED_PREFIXES)


def _default_origin(read_timeout: int) -> dict[str, Any]:
    """Return the distribution's own origin; it is never called, as the function chooses another or generates a response."""
    custom = {
        "customHeaders": {},
        "domainName": "origin.invalid",
        "keepaliveTimeout": 5,
        "path": "",
        "port": 443,
        "protocol": "https",
        "readTimeout": read_timeout,
        "sslProtocols": ["TLSv1.2"],
    }
    return {"custom": custom}
