"""Door: CloudFront's origin-request. A call with a token comes in, the call with the key goes on to the provider."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.aws import config
from chalicelib.aws.round_trip import whole_call
from chalicelib.edge import admission, resource_metadata
from chalicelib.edge import headers as call_headers
from chalicelib.edge import query as call_query
from chalicelib.edge import refusal as edge_refusal
from chalicelib.edge import token as call_token
from chalicelib.edge.call import Admitted, Call
from chalicelib.edge.errors import EventMalformed, NoPage, PageMethod
from chalicelib.errors import InternalFault, Refusal
from chalicelib.models.body import CallBody
from chalicelib.providers import paths

_WELL_KNOWN = "/.well-known/"
_TIMEOUTS = ("keepaliveTimeout", "readTimeout")
"""What an origin's place in the distribution says of waiting, in seconds; a raised quota is known there alone."""


class Ports(NamedTuple):
    """What the handler needs.

    clock: epoch seconds. log: takes one line per refusal. admitted: is told a call's request id, and what it was admitted
    with, so that it can be given back if nothing of it is sent, and ended while it runs; on AWS nobody can do either.
    bounded: within it a call is admitted, and ends in time.
    """

    edge: admission.Edge
    clock: Callable[[], int] = lambda: int(time.time())
    log: Callable[[str], None] = print
    admitted: Callable[[str, Admitted], None] = lambda _request_id, _admitted: None
    bounded: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


def make_handler(
    ports: Callable[[], Ports], log: Callable[[str], None] = print
) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """Wire the handler. ports: called at the first event, and again after a fault. log: used while there are no ports."""
    made: list[Ports] = []

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        """Return the request to send on, or the answer that refuses it."""
        request_id = "-"
        try:
            with _READING:
                cloudfront = event["Records"][0]["cf"]
                request_id, request = str(cloudfront["config"]["requestId"]), cloudfront["request"]
            if not made:
                made.append(ports())
            with made[0].bounded():
                return _handle(request, request_id, made[0])
        except Refusal as refusal:
            return _refuse(refusal, request_id, made, log)
        except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token or a key
            return _refuse(InternalFault(fault), request_id, made, log)

    return handle


def _handle(request: dict[str, Any], request_id: str, ports: Ports) -> dict[str, Any]:
    with _READING:
        if request["uri"].startswith(_WELL_KNOWN):
            return _describe(request, ports.edge)
        call = _call(request, request_id)
        custom = request["origin"]["custom"]
        timeouts = {name: custom[name] for name in _TIMEOUTS}  # an event without them is not counted
    admitted = admission.admit(call, ports.edge, ports.clock())
    ports.admitted(request_id, admitted)
    return _send_on(request, admitted, call.unverified_token, timeouts)


class _Reading:
    """A block that raises EventMalformed where an event is none of CloudFront's. A generator would take twice as long."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, fault: BaseException | None, _where: object) -> None:
        if isinstance(fault, KeyError | IndexError | TypeError | AttributeError):
            # SECURITY: the kind of fault, never its text, which may hold a header (test_a_malformed_event_is_a_503).
            raise EventMalformed(aws_code=type(fault).__name__) from None


_READING = _Reading()


def _call(request: Mapping[str, Any], request_id: str) -> Call:
    key, path = paths.split(request["uri"])
    headers, method, query, address = (request[name] for name in ("headers", "method", "querystring", "clientIp"))
    if not (isinstance(method, str) and isinstance(query, str) and isinstance(address, str)):
        raise TypeError
    call_headers.check(headers, method)
    call_query.check(query)
    # SECURITY: the address is CloudFront's own finding, no header's (test_edge.py).
    token, body = call_token.find(headers, query), CallBody.from_request(request)
    return Call(token, key, method, path, address, body, query, request_id)


def _describe(request: Mapping[str, Any], edge: admission.Edge) -> dict[str, Any]:
    """Answer the edge's metadata, the one page that the edge has of its own."""
    if request["uri"] != resource_metadata.PATH or not edge.url:
        raise NoPage
    if request["method"] != "GET":
        raise PageMethod
    headers = {"content-type": "application/json", "cache-control": "public, max-age=300"}
    return _answer(200, headers, json.dumps(resource_metadata.document(edge.url, edge.issuer)))


def _send_on(request: Mapping[str, Any], admitted: Admitted, token: str, timeouts: Mapping[str, int]) -> dict[str, Any]:
    # SECURITY: where the call goes is the key's own, never the request's; what could carry the token or spoof an
    # address is taken off before the key is put on (test_edge_headers.py).
    host, protocol, domain, port = _origin(admitted.key.origin)
    headers = call_headers.forwarded(request["headers"], admitted.key.header, token)
    headers["host"] = [{"key": "Host", "value": host}]
    headers[admitted.key.header] = [{"key": admitted.key.header, "value": admitted.key.reveal()}]
    custom: dict[str, Any] = {
        "customHeaders": {},
        "domainName": domain,
        "path": "",
        "port": port,
        "protocol": protocol,
        "sslProtocols": ["TLSv1.2"],
        **timeouts,
    }
    return {
        **request,
        **_unchanged_body(request),
        "uri": admitted.path,
        "querystring": admitted.query,
        "headers": headers,
        "origin": {"custom": custom},
    }


def _unchanged_body(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `body` without its data: CloudFront sends on the whole body that it has, and not what it showed."""
    body = request.get("body")
    return {"body": {**body, "action": "read-only", "data": ""}} if isinstance(body, Mapping) else {}


@functools.lru_cache(maxsize=256)
def _origin(url: str) -> tuple[str, str, str | None, int]:
    """Return what an origin's URL says: host with port, protocol, domain and port."""
    origin = urlsplit(url)
    return origin.netloc, origin.scheme, origin.hostname, origin.port or (443 if origin.scheme == "https" else 80)


def _refuse(refusal: Refusal, request_id: str, made: Sequence[Ports], log: Callable[[str], None]) -> dict[str, Any]:
    # SECURITY: fixed words, and who and what was refused once that is verified; nothing else of the call (test_canary.py).
    line = {"door": "edge", "reason": refusal.reason, "status": refusal.status, "request_id": request_id}
    (made[0].log if made else log)(json.dumps({**line, **refusal.log_fields()}))
    url = made[0].edge.url if made else ""
    headers = edge_refusal.headers(refusal, request_id, url)
    return _answer(refusal.status, headers, edge_refusal.body(refusal, request_id))


def _answer(status: int, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    return {
        "status": str(status),
        "headers": {name: [{"key": name, "value": value}] for name, value in headers.items()},
        "body": body,
        "bodyEncoding": "text",
    }


@functools.cache
def _on_aws() -> Ports:
    return Ports(*config.edge_on_aws(ahead=True), bounded=whole_call)


def start() -> None:
    """Connect and read the signing keys before the first call comes; what fails here, the first call does."""
    with contextlib.suppress(Exception):  # the function has started all the same, and the first call says what is wrong
        _on_aws()


handler = make_handler(_on_aws)
"""What Lambda@Edge runs."""
